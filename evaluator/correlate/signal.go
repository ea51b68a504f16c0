package correlate

import (
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/schemas/wire"
)

// signalVersion is the major version of a signal's wire form, signalsVersion that of several in one message.
const (
	signalVersion  = 1
	signalsVersion = 2
)

// ErrVersion is returned for a signal or snapshot of a newer major version than this program reads.
var ErrVersion = errors.New("of a newer wire version")

const (
	maxKeyParts = 32
	maxFields   = 256
	// maxTogether is how many signals a reader takes from one message.
	maxTogether = 1 << 12
)

// Signal is a match of one step of a correlation rule, as it travels on the SIGNALS stream.
type Signal struct {
	// Step is the step's name.
	Step string
	// Weight is how many events of the key and batch it stands for; all but rules of kind rate have 1.
	Weight uint64
	// Key are the scope's value and those of the rule's by.
	Key []string
	// Alert describes the event as an alert would: rule, time, identity and the captured fields. Its ID is not set;
	// lineage, user, container and pod are there only if an alert can be about this event, else just the process.
	Alert alertv1.Alert
}

// Partition is where signals of the key belong.
func (s *Signal) Partition() int {
	h := fnv.New64a()
	h.Write([]byte(s.Alert.RuleID))
	for _, k := range s.Key {
		h.Write([]byte{0})
		h.Write([]byte(k))
	}
	return int(h.Sum64() % subject.SignalPartitions)
}

// Subject is where the signal is published.
func (s *Signal) Subject() string { return subject.Signal(s.Partition(), s.Alert.RuleID) }

// Marshal writes the signal as [version, step, weight, key[], alert(bin)].
func (s *Signal) Marshal() ([]byte, error) {
	a, err := s.Alert.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode signal: %w", err)
	}
	e := wire.NewEncoder()
	e.Array(5)
	e.Int(signalVersion)
	e.String(s.Step)
	e.Uint(s.Weight)
	e.Array(len(s.Key))
	for _, k := range s.Key {
		e.String(k)
	}
	e.Bytes(a)
	return e.Data(), nil
}

// UnmarshalSignal reads what [Signal.Marshal] wrote. Errors are permanent.
func UnmarshalSignal(data []byte) (*Signal, error) {
	d := wire.NewDecoder()
	d.Reset(data)
	n := d.Array("signal", maxFields)
	if v := d.Int(); d.Err() == nil && v != signalVersion {
		return nil, fmt.Errorf("signal %w: %d, want %d", ErrVersion, v, signalVersion)
	}
	if n < 5 {
		d.Fail("signal of %d elements, want 5", n)
	}
	s := &Signal{Step: d.String(), Weight: d.Uint()}
	s.Key = make([]string, d.Array("key", maxKeyParts))
	for i := range s.Key {
		s.Key[i] = d.String()
	}
	raw := d.Bytes()
	d.Skip(n - 5)
	if d.Err() != nil {
		return nil, d.Err()
	}
	var err error
	if s.Alert, err = alertv1.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decode signal: %w", err)
	}
	return s, nil
}

// JoinSignals makes one message of signals of one partition, each as [Signal.Marshal] wrote it: [version, signal(bin), ...]; one alone stays as it is.
func JoinSignals(list [][]byte) []byte {
	if len(list) == 1 {
		return list[0]
	}
	e := wire.NewEncoder()
	e.Array(1 + len(list))
	e.Int(signalsVersion)
	for _, s := range list {
		e.Bytes(s)
	}
	return e.Data()
}

// SplitSignals reads the signals of a message, in order. Errors are permanent, and leave none.
func SplitSignals(data []byte) ([]*Signal, error) {
	d := wire.NewDecoder()
	d.Reset(data)
	n := d.Array("signals", maxTogether+1)
	if v := d.Int(); d.Err() != nil || v != signalsVersion {
		s, err := UnmarshalSignal(data)
		if err != nil {
			return nil, err
		}
		return []*Signal{s}, nil
	}
	out := make([]*Signal, 0, n-1)
	for range n - 1 {
		raw := d.Bytes()
		if d.Err() != nil {
			return nil, d.Err()
		}
		s, err := UnmarshalSignal(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
