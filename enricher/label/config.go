package label

import (
	"errors"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// Config says which labels are added, and where they are looked up. Files are read again when they change.
type Config struct {
	Static   map[string]string `yaml:"static" doc:"labels of every node"`
	Lookups  []Lookup          `yaml:"lookups" doc:"tables of labels by the value of a field"`
	Networks string            `yaml:"networks" doc:"CSV file with labels of networks: the column network, then one per label"`
	Country  string            `yaml:"country_database" doc:"file in MaxMind's format with the countries of addresses"`
	ASN      string            `yaml:"asn_database" doc:"file in MaxMind's format with the autonomous systems of addresses"`
	Poll     time.Duration     `yaml:"poll" doc:"how often files are looked at for changes"`
	MaxRows  int               `yaml:"max_rows" doc:"rows allowed in one table"`
}

// Lookup is a table of labels.
type Lookup struct {
	Name  string `yaml:"name" doc:"name of the lookup in logs and metrics, and the key of its table in the bucket context"`
	Field string `yaml:"field" doc:"field whose value is looked up, such as node.name, container.image.repository, user.name or k8s.pod.label[app]"`
	File  string `yaml:"file" doc:"CSV file with the column key, then one per label; empty: the table is in the bucket context, see gyre context push"`
}

// DefaultConfig adds nothing.
func DefaultConfig() Config { return Config{Poll: 2 * time.Second, MaxRows: 1_000_000} }

// Limits of the configuration.
const (
	maxLookups = 64
	maxStatic  = 64
)

// Validate checks what can be checked without the files.
func (c Config) Validate() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, daemon.At(key, fmt.Errorf(format, args...)))
	}
	if c.Poll < 100*time.Millisecond {
		add("poll", "poll is %s, want at least 100ms", c.Poll)
	}
	if c.MaxRows < 1 {
		add("max_rows", "max_rows is %d, want at least 1", c.MaxRows)
	}
	if len(c.Static) > maxStatic {
		add("static", "%d labels, at most %d are possible", len(c.Static), maxStatic)
	}
	for k, v := range c.Static {
		if err := checkName(k); err != nil {
			add("static", "%w", err)
		}
		if len(v) > maxValue {
			add("static."+k, "a value of %d bytes, at most %d are possible", len(v), maxValue)
		}
	}
	if len(c.Lookups) > maxLookups {
		add("lookups", "%d lookups, at most %d are possible", len(c.Lookups), maxLookups)
	}
	names := map[string]bool{}
	for i, l := range c.Lookups {
		at := fmt.Sprintf("lookups[%d]", i)
		if err := checkName(l.Name); err != nil {
			add(at+".name", "%w", err)
		}
		if names[l.Name] {
			add(at+".name", "there is another lookup %q", l.Name)
		}
		names[l.Name] = true
		if _, err := newKey(l.Field); err != nil {
			add(at+".field", "%w", err)
		}
	}
	return errors.Join(errs...)
}

// Enabled tells whether anything is to be done.
func (c Config) Enabled() bool {
	return len(c.Static) > 0 || len(c.Lookups) > 0 || c.Networks != "" || c.Country != "" || c.ASN != ""
}

// checkName checks the name of a label or lookup: letters, digits, and - _ . / inside.
func checkName(s string) error {
	if s == "" || len(s) > maxName {
		return fmt.Errorf("a name of %d bytes, want 1 to %d", len(s), maxName)
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != '/' {
			return fmt.Errorf("%q cannot be a name: want letters, digits, and any of -_./", s)
		}
	}
	return nil
}
