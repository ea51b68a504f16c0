package route

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// InhibitConfig keeps some alerts from being notified while another one is recent.
type InhibitConfig struct {
	Source Match         `yaml:"source" doc:"the alert that inhibits"`
	Target Match         `yaml:"target" doc:"the alerts that are inhibited"`
	Equal  []string      `yaml:"equal" doc:"fields that must be the same in both"`
	For    time.Duration `yaml:"for" doc:"how long after the source's time"`
}

// Inhibitor remembers sources. It is safe for concurrent use.
type Inhibitor struct {
	rules []inhibit
	mu    sync.Mutex
	seen  []map[string]seen // for each rule: the last source, by the equal fields
}

type inhibit struct {
	source, target *Matcher
	equal          []string
	keep           time.Duration
}

type seen struct {
	at time.Time
	id alertv1.ID
}

// maxSources bounds what an Inhibitor remembers for each rule.
const maxSources = 10_000

// NewInhibitor checks the rules.
func NewInhibitor(rules []InhibitConfig) (*Inhibitor, error) {
	in := &Inhibitor{}
	var errs []error
	for i, c := range rules {
		r := inhibit{equal: c.Equal, keep: c.For}
		var err error
		fail := func(key string, err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("inhibit[%d].%s: %w", i, key, err))
			}
		}
		r.source, err = c.Source.Compile()
		fail("source", err)
		r.target, err = c.Target.Compile()
		fail("target", err)
		if c.Source.Empty() || c.Target.Empty() {
			fail("source", errors.New("source and target need conditions"))
		}
		if c.For <= 0 {
			fail("for", fmt.Errorf("is %s, want above 0", c.For))
		}
		in.rules, in.seen = append(in.rules, r), append(in.seen, map[string]seen{})
	}
	return in, errors.Join(errs...)
}

// Longest is the longest time that a source counts.
func (in *Inhibitor) Longest() time.Duration {
	var d time.Duration
	for _, r := range in.rules {
		d = max(d, r.keep)
	}
	return d
}

func (r *inhibit) key(a *alertv1.Alert) string {
	var b strings.Builder
	for _, name := range r.equal {
		b.WriteString(strings.Join(Values(a, name), "\x01"))
		b.WriteByte(0)
	}
	return b.String()
}

// Observe remembers the alert if it is a source. The order of calls does not matter, nor do repetitions.
func (in *Inhibitor) Observe(a *alertv1.Alert) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, r := range in.rules {
		if !r.source.Match(a) {
			continue
		}
		k, m := r.key(a), in.seen[i]
		if was, ok := m[k]; ok && !a.When().After(was.at) {
			continue
		}
		if len(m) >= maxSources {
			r.sweep(m, a.When())
		}
		m[k] = seen{a.When(), a.ID}
	}
}

// sweep forgets sources that no longer count, or all if that does not help.
func (r *inhibit) sweep(m map[string]seen, now time.Time) {
	for k, s := range m {
		if now.Sub(s.at) > r.keep {
			delete(m, k)
		}
	}
	if len(m) >= maxSources {
		clear(m)
	}
}

// Inhibited tells whether a source that is recent, in the time of the events, keeps the alert back. An alert does not inhibit itself.
func (in *Inhibitor) Inhibited(a *alertv1.Alert) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, r := range in.rules {
		if !r.target.Match(a) || r.source.Match(a) {
			continue // as in Alertmanager, what is both is not inhibited
		}
		if s, ok := in.seen[i][r.key(a)]; ok && s.id != a.ID {
			if d := a.When().Sub(s.at); d >= 0 && d <= r.keep {
				return true
			}
		}
	}
	return false
}
