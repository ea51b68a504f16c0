package intel

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

// Config says which lists of indicators are read, and how often.
type Config struct {
	Lists      []List        `yaml:"lists" doc:"lists of indicators, from files or over HTTP"`
	MaxBytes   daemon.Bytes  `yaml:"max_bytes" doc:"bound of a file or answer"`
	MaxEntries int           `yaml:"max_entries" doc:"bound of the indicators of one list"`
	Timeout    time.Duration `yaml:"timeout" doc:"how long one attempt to fetch a list may take"`
	Retry      time.Duration `yaml:"retry" doc:"how long attempts to fetch a list go on, with growing pauses, before the next interval is waited for"`
}

// List is a list of indicators.
type List struct {
	Name   string        `yaml:"name" doc:"name of the list: what the fields intel.* say"`
	File   string        `yaml:"file" doc:"file with an indicator a line"`
	URL    string        `yaml:"url" doc:"http or https address of such a file"`
	Secret daemon.Secret `yaml:"secret_url" doc:"the same, where the address holds a key"`
	Type   string        `yaml:"type" doc:"what the indicators are: ip, domain, path or sha256; empty: each is what it looks like"`
	Column int           `yaml:"column" doc:"column of the indicator in lines divided by commas, semicolons or blanks, from 1"`
	Every  time.Duration `yaml:"every" doc:"how often the list is read; 0 means every hour for a url, every 10 s for a file"`
}

// DefaultConfig reads nothing.
func DefaultConfig() Config {
	return Config{MaxBytes: 256 * daemon.MiB, MaxEntries: 2_000_000, Timeout: time.Minute, Retry: 5 * time.Minute}
}

// Validate checks what can be checked without the lists.
func (c Config) Validate() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, daemon.At(key, fmt.Errorf(format, args...)))
	}
	if c.MaxBytes < daemon.KiB || c.MaxBytes > daemon.GiB {
		add("max_bytes", "max_bytes is %s, want 1KiB to 1GiB", c.MaxBytes)
	}
	if c.MaxEntries < 1 || c.MaxEntries > intelv1.MaxEntries {
		add("max_entries", "max_entries is %d, want 1 to %d", c.MaxEntries, intelv1.MaxEntries)
	}
	if c.Timeout <= 0 || c.Retry <= 0 {
		add("timeout", "timeout and retry must be above 0")
	}
	names := map[string]bool{}
	for i, l := range c.Lists {
		at := fmt.Sprintf("lists[%d]", i)
		if err := intelv1.CheckName(l.Name); err != nil {
			add(at+".name", "%w", err)
		}
		if names[l.Name] {
			add(at+".name", "there is another list %q", l.Name)
		}
		names[l.Name] = true
		given := 0
		for _, is := range []bool{l.File != "", l.URL != "", l.Secret.IsSet()} {
			if is {
				given++
			}
		}
		if given != 1 {
			add(at, "list %s: want one of file, url and secret_url", l.Name)
		}
		if l.File == "" && given == 1 {
			if raw, err := l.address(); err != nil {
				add(at+".secret_url", "%w", err)
			} else if u, err := url.Parse(raw); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				add(at+".url", "the url is none: write it as https://host/path")
			}
		}
		if _, err := intelv1.ParseType(l.Type); err != nil {
			add(at+".type", "%w", err)
		}
		if l.Column < 0 || l.Column > 100 {
			add(at+".column", "column is %d, want 1 to 100", l.Column)
		}
		if l.Every != 0 && l.Every < time.Second {
			add(at+".every", "every is %s, want at least 1s", l.Every)
		}
	}
	return errors.Join(errs...)
}

// address is where the list is fetched from.
func (l List) address() (string, error) {
	if l.URL != "" {
		return l.URL, nil
	}
	raw, err := l.Secret.Resolve()
	return strings.TrimSpace(raw), err
}

func (l List) every() time.Duration {
	switch {
	case l.Every > 0:
		return l.Every
	case l.File != "":
		return 10 * time.Second
	default:
		return time.Hour
	}
}
