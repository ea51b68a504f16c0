package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// mark is a named place in the stream of enriched batches: Seq is the number of its last message then.
type mark struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
}

func markKey(name string) string { return "mark." + subject.Token(name) }

var markName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (a *app) markCommand() *cobra.Command {
	return a.connects(&cobra.Command{
		Use: "mark NAME", Short: "Name this moment, for --mark NAME, --from mark:NAME and --to mark:NAME", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !markName.MatchString(args[0]) {
				return fmt.Errorf("%q is not a name of a mark: want letters, digits, dots, - and _, at most 64", args[0])
			}
			return a.withBus(func(ctx context.Context, b *bus.Bus) error {
				kv, err := b.KV(ctx, bus.BucketReplays)
				if err != nil {
					return err
				}
				bounds, err := b.Bounds(ctx, bus.StreamEnriched)
				if err != nil {
					return err
				}
				m := mark{bounds.LastSeq, time.Now().UTC()}
				data, err := json.Marshal(m)
				if err != nil {
					return err
				}
				if _, err := kv.Put(ctx, markKey(args[0]), data); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s is after message %d of %s, %s\n", args[0], m.Seq, bus.StreamEnriched, m.Time.Format(time.RFC3339))
				return err
			})
		},
	})
}

// place is a number of the stream or a time.
type place struct {
	seq  uint64
	time time.Time
}

// parsePlace reads a place; a start at a mark is the message after it.
func parsePlace(ctx context.Context, kv *bus.KV, s string, start bool) (place, error) {
	if name, ok := strings.CutPrefix(s, "mark:"); ok {
		e, err := kv.Get(ctx, markKey(name))
		if errors.Is(err, bus.ErrNotFound) {
			return place{}, daemon.Hint(fmt.Errorf("there is no mark %q", name), "gyre replay mark NAME makes one, gyre replay list shows them")
		}
		if err != nil {
			return place{}, err
		}
		var m mark
		if err := json.Unmarshal(e.Value, &m); err != nil {
			return place{}, fmt.Errorf("read mark %s: %w", name, err)
		}
		if start {
			m.Seq++
		}
		return place{seq: max(m.Seq, 1)}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		return place{seq: n}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return place{}, daemon.Hint(fmt.Errorf("%q is neither a time nor a number of the stream nor a mark", s), "write 2026-05-01T00:00:00Z, 12345 or mark:NAME")
	}
	return place{time: t}, nil
}

// resolve turns the flags of the range into numbers and times that stay the same when the replay is resumed.
func (f *replayFlags) resolve(ctx context.Context, b *bus.Bus, kv *bus.KV) error {
	s := &f.spec
	from := f.from
	if f.mark != "" {
		from = "mark:" + f.mark
	}
	if f.since > 0 {
		s.FromTime = time.Now().Add(-f.since).UTC()
	} else {
		p, err := parsePlace(ctx, kv, from, true)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		s.FromSeq, s.FromTime = p.seq, p.time
	}
	if f.to != "" {
		p, err := parsePlace(ctx, kv, f.to, false)
		if err != nil {
			return fmt.Errorf("--to: %w", err)
		}
		s.ToSeq, s.ToTime = p.seq, p.time
	}
	if f.length > 0 {
		if s.FromTime.IsZero() {
			return errors.New("--for needs a start that is a time")
		}
		s.ToTime = s.FromTime.Add(f.length)
	}
	bounds, err := b.Bounds(ctx, bus.StreamEnriched)
	if err != nil {
		return err
	}
	if s.ToSeq == 0 || s.ToSeq > bounds.LastSeq {
		s.ToSeq = bounds.LastSeq
	}
	switch {
	case bounds.Messages == 0:
		return daemon.Hint(fmt.Errorf("the stream %s is empty", bus.StreamEnriched), "its limits are nats.streams.enriched.max_age and max_bytes; replay a recording with --from-file")
	case !s.ToTime.IsZero() && s.ToTime.Before(bounds.FirstTime):
		return fmt.Errorf("the stream %s begins at %s, after the end of the range", bus.StreamEnriched, bounds.FirstTime.Format(time.RFC3339))
	case s.FromSeq > bounds.LastSeq || s.FromTime.After(bounds.LastTime):
		return fmt.Errorf("the stream %s ends at message %d, %s, before the start of the range", bus.StreamEnriched, bounds.LastSeq, bounds.LastTime.Format(time.RFC3339))
	case !s.ToTime.IsZero() && s.ToTime.Before(s.FromTime), s.FromSeq > s.ToSeq:
		return errors.New("the range ends before it starts")
	}
	return nil
}

// startsLate says what of the range the stream holds no more, "" if nothing is missing.
func (s *replaySpec) startsLate(b bus.Bounds) string {
	if s.FromSeq > 0 && s.FromSeq < b.FirstSeq || !s.FromTime.IsZero() && b.FirstSeq > 1 && s.FromTime.Before(b.FirstTime) {
		return fmt.Sprintf("the stream's limits have removed what is older than %s (message %d): the replay starts there", b.FirstTime.Format(time.RFC3339), b.FirstSeq)
	}
	return ""
}

// streamSource reads a range of ENRICHED.
type streamSource struct {
	b   *bus.Bus
	cfg bus.ReadConfig
}

// Read implements [backtest.Source].
func (s streamSource) Read(ctx context.Context, fn func(bus.Packed) error) error {
	return s.b.Read(ctx, s.cfg, fn)
}

// readConfig is the range as a reader wants it; exact names of nodes are left to the server.
func (s *replaySpec) readConfig() bus.ReadConfig {
	cfg := bus.ReadConfig{Stream: bus.StreamEnriched, FromSeq: s.FromSeq, FromTime: s.FromTime, ToSeq: s.ToSeq, ToTime: s.ToTime}
	exact := len(s.Nodes) > 0
	for _, n := range s.Nodes {
		exact = exact && !strings.ContainsAny(n, `*?[\`)
	}
	switch {
	case exact:
		for _, n := range s.Nodes {
			cfg.Filters = append(cfg.Filters, subject.EventFilter(subject.PrefixEnriched, s.Source, n))
		}
	case s.Source != "":
		cfg.Filters = []string{subject.EventFilter(subject.PrefixEnriched, s.Source, "")}
	}
	return cfg
}
