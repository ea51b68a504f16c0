package evaluator

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

// ErrConfig is wrapped by what [Config.Validate] returns.
var ErrConfig = errors.New("invalid evaluator configuration")

// Config says where rules come from and how much is evaluated at once.
type Config struct {
	Builtin     bool          `yaml:"builtin" doc:"use the rules that come with the program"`
	Dirs        []string      `yaml:"dirs" doc:"directories with rule files (*.yaml, *.yml); a later one replaces rules of the same id"`
	KV          string        `yaml:"kv" doc:"NATS key-value bucket with rule sets, see gyre rules push; its rules replace those of directories; empty for none"`
	RuleSet     string        `yaml:"rule_set" doc:"name of the rule set in the bucket, whose versions are loaded as they are pushed"`
	RuleKeys    []string      `yaml:"rule_keys" doc:"public keys, as gyre rules keygen prints them: only rule sets signed by one of them are loaded; none: unsigned ones too"`
	Poll        time.Duration `yaml:"poll" doc:"how often directories are looked at for changes"`
	Concurrency int           `yaml:"concurrency" doc:"batches evaluated at once; 0 means one per CPU"`
	MaxRules    int           `yaml:"max_rules" doc:"rules allowed in all files together"`

	Intel     string           `yaml:"intel" doc:"NATS key-value bucket with lists of threat intelligence, for the fields intel.*; empty for none"`
	Correlate correlate.Config `yaml:"correlate" doc:"rules about several events"`

	StoreEvents string `yaml:"store_events" doc:"CEL condition as of gyre events --filter: events that match are stored in the table events of ClickHouse; empty for none"`

	FalcoMatching string   `yaml:"falco_matching" doc:"of the rules from Falco files that match an event, first: only the first one raises an alert, as in Falco; all: each does"`
	FalcoPriority string   `yaml:"falco_priority" doc:"rules from Falco files of a less severe priority are left out; empty for none"`
	FalcoDisable  []string `yaml:"falco_disable" doc:"rules from Falco files to switch off: names, with * and ?, or tag:NAME"`
	FalcoEnable   []string `yaml:"falco_enable" doc:"rules from Falco files to switch on, after those to switch off"`
	FalcoOutput   string   `yaml:"falco_append_output" doc:"text with %fields that is put behind the output of every rule from a Falco file"`
	FalcoFields   []string `yaml:"falco_extra_fields" doc:"fields attached to the alerts of every rule from a Falco file"`
}

// DefaultConfig is the shipped rules and the set "default" of the bucket "rules".
func DefaultConfig() Config {
	return Config{Builtin: true, KV: "rules", RuleSet: "default", Intel: "intel", Poll: 2 * time.Second, MaxRules: 10_000, FalcoMatching: matchFirst, Correlate: correlate.DefaultConfig()}
}

// Validate checks what can be checked without a server.
func (c Config) Validate() error {
	switch {
	case c.Poll < 100*time.Millisecond:
		return fmt.Errorf("%w: poll is %s, want at least 100ms", ErrConfig, c.Poll)
	case c.Concurrency < 0 || c.Concurrency > 1024:
		return fmt.Errorf("%w: concurrency is %d, want 0 to 1024", ErrConfig, c.Concurrency)
	case c.MaxRules < 1:
		return fmt.Errorf("%w: max_rules is %d, want at least 1", ErrConfig, c.MaxRules)
	}
	if c.FalcoMatching != matchFirst && c.FalcoMatching != matchAll {
		return fmt.Errorf("%w: falco_matching is %q, want %s or %s", ErrConfig, c.FalcoMatching, matchFirst, matchAll)
	}
	if c.KV != "" {
		if err := rulesv1.CheckName(c.RuleSet); err != nil {
			return fmt.Errorf("%w: rule_set: %w", ErrConfig, err)
		}
	}
	if _, err := c.keys(); err != nil {
		return err
	}
	if _, err := c.falco(); err != nil {
		return fmt.Errorf("%w: falco_priority: %w", ErrConfig, err)
	}
	if c.StoreEvents != "" {
		if _, err := newPicker(c.StoreEvents); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if err := c.Correlate.Validate(); err != nil {
		return fmt.Errorf("%w: correlate: %w", ErrConfig, err)
	}
	for _, d := range c.Dirs {
		st, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("%w: dirs: %w", ErrConfig, err)
		}
		if !st.IsDir() {
			return fmt.Errorf("%w: dirs: %s is not a directory", ErrConfig, d)
		}
	}
	return nil
}

// keys are the public keys of rule sets.
func (c Config) keys() ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for i, text := range c.RuleKeys {
		k, err := rulesv1.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%w: rule_keys[%d]: %w", ErrConfig, i, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func (c Config) workers() int {
	if c.Concurrency > 0 {
		return c.Concurrency
	}
	return runtime.GOMAXPROCS(0)
}
