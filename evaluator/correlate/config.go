package correlate

import (
	"errors"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// ErrConfig is wrapped by what [Config.Validate] returns.
var ErrConfig = errors.New("invalid configuration of correlation")

// Config is the section evaluator.correlate.
type Config struct {
	Enabled      bool          `yaml:"enabled" doc:"evaluate rules of the kinds sequence, threshold, distinct, absence, first_seen and rate"`
	OutOfOrder   time.Duration `yaml:"out_of_order" doc:"for how long events of a key are held back to be taken in the order of their times; alerts come that much later"`
	Lease        time.Duration `yaml:"lease" doc:"after how long without a sign of life the partitions of a correlator go to others"`
	Snapshot     time.Duration `yaml:"snapshot" doc:"how often the state of partitions is stored; after a crash the signals since then are read again"`
	KeysPerRule  int           `yaml:"keys_per_rule" doc:"keys that one rule remembers; beyond it those that were idle the longest are forgotten"`
	Keys         int           `yaml:"keys" doc:"keys that all rules remember together"`
	Memory       daemon.Bytes  `yaml:"memory" doc:"what the keys may take in all"`
	EventsPerKey int           `yaml:"events_per_key" doc:"events of a key that can be held back; beyond it the oldest is taken at once"`
}

// DefaultConfig bounds the state to 256 MiB.
func DefaultConfig() Config {
	return Config{
		Enabled: true, OutOfOrder: 2 * time.Second, Lease: 10 * time.Second, Snapshot: 10 * time.Second,
		KeysPerRule: 200_000, Keys: 500_000, Memory: 256 << 20, EventsPerKey: 1000,
	}
}

// Validate checks the bounds.
func (c Config) Validate() error {
	switch {
	case c.OutOfOrder < 0 || c.OutOfOrder > time.Hour:
		return fmt.Errorf("%w: out_of_order is %s, want 0s to 1h", ErrConfig, c.OutOfOrder)
	case c.Lease < time.Second || c.Lease > 10*time.Minute:
		return fmt.Errorf("%w: lease is %s, want 1s to 10m", ErrConfig, c.Lease)
	case c.Snapshot < 100*time.Millisecond || c.Snapshot > time.Hour:
		return fmt.Errorf("%w: snapshot is %s, want 100ms to 1h", ErrConfig, c.Snapshot)
	case c.KeysPerRule < 1 || c.Keys < 1 || c.EventsPerKey < 1:
		return fmt.Errorf("%w: keys_per_rule, keys and events_per_key must be at least 1", ErrConfig)
	case c.Memory < 1<<20:
		return fmt.Errorf("%w: memory is %d bytes, want at least 1MiB", ErrConfig, c.Memory)
	}
	return nil
}

func (c Config) limits() Limits {
	return Limits{OutOfOrder: c.OutOfOrder, KeysPerRule: c.KeysPerRule, Keys: c.Keys, Bytes: int64(c.Memory), EventsPerKey: c.EventsPerKey}
}
