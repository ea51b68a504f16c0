package action

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// Policy is what this node allows. The zero policy allows nothing.
type Policy struct {
	Keys      []Key   `yaml:"keys" doc:"who may ask"`
	Allow     []Scope `yaml:"allow" doc:"what may be done, to what; a request needs one entry that fits it in everything"`
	Protect   Protect `yaml:"protect" doc:"what is never hit, whatever is allowed"`
	RateLimit int     `yaml:"rate_limit" doc:"how many requests per minute are carried out"`
	DryRun    bool    `yaml:"dry_run" doc:"decide and report, but do nothing"`
}

// Key is a trusted public key.
type Key struct {
	Name      string    `yaml:"name" doc:"what results call it"`
	PublicKey PublicKey `yaml:"public_key" doc:"as gyre action keygen prints it"`
}

// Scope is one permission. What is empty does not narrow it.
type Scope struct {
	Actions        []actionv1.Action `yaml:"actions" doc:"kill, kill_tree, pause_container, resume_container, stop_container"`
	Keys           []string          `yaml:"keys" doc:"names of keys; empty means each of them"`
	Exes           []Glob            `yaml:"exes" doc:"program files; * stands for any text without /, ** for any text"`
	ContainersOnly bool              `yaml:"containers_only" doc:"only processes in containers"`
	Users          []uint32          `yaml:"users" doc:"user ids; the process's real and effective user must both be among them"`
	CgroupPrefix   CgroupPath        `yaml:"cgroup_prefix" doc:"only processes in this control group and those below it"`
}

// Protect names what is never hit.
type Protect struct {
	Exes []Glob   `yaml:"exes" doc:"program files, of processes outside of containers"`
	PIDs []uint32 `yaml:"pids" doc:"process ids"`
}

const (
	defaultRate = 10
	maxRate     = 600
)

// defaultPolicy is what a policy file starts from.
func defaultPolicy() *Policy { return &Policy{RateLimit: defaultRate} }

func (p *Policy) empty() bool { return len(p.Keys) == 0 || len(p.Allow) == 0 }

// Validate checks what concerns more than one value.
func (p *Policy) Validate() error {
	var errs []error
	bad := func(key, hint, format string, args ...any) {
		errs = append(errs, daemon.At(key, daemon.Hint(fmt.Errorf(format, args...), hint)))
	}
	names, ids := map[string]bool{}, map[string]string{}
	for i, k := range p.Keys {
		at := fmt.Sprintf("keys[%d]", i)
		switch {
		case k.Name == "":
			bad(at+".name", "give each key the name of the person or system that holds it", "the key has no name")
		case names[k.Name]:
			bad(at+".name", "give it another name", "a second key %q", k.Name)
		}
		names[k.Name] = true
		if len(k.PublicKey.key) == 0 {
			bad(at+".public_key", "gyre action keygen prints it", "the key is missing")
			continue
		}
		id := actionv1.KeyID(k.PublicKey.key)
		if other, twice := ids[id]; twice {
			bad(at+".public_key", "keep one of the two", "the same key as that of %q", other)
		}
		ids[id] = k.Name
	}
	for i, s := range p.Allow {
		at := fmt.Sprintf("allow[%d]", i)
		if len(s.Actions) == 0 {
			bad(at+".actions", "list the actions, such as [kill]", "no action is named")
		}
		for j, name := range s.Keys {
			if !names[name] {
				bad(fmt.Sprintf("%s.keys[%d]", at, j), "name one of keys, or leave the list out for all of them", "there is no key %q", name)
			}
		}
	}
	if p.RateLimit < 1 || p.RateLimit > maxRate {
		bad("rate_limit", "remove an allow entry to forbid an action", "%d requests per minute, want 1 to %d", p.RateLimit, maxRate)
	}
	return errors.Join(errs...)
}

func (p *Policy) key(id string) *Key {
	for i := range p.Keys {
		if actionv1.KeyID(p.Keys[i].PublicKey.key) == id {
			return &p.Keys[i]
		}
	}
	return nil
}

// allows tells whether some entry lets the key's holder do this at all.
func (p *Policy) allows(a actionv1.Action, key string) bool {
	return slices.ContainsFunc(p.Allow, func(s Scope) bool { return s.of(a, key) })
}

// permits tells whether one entry fits the action, the key and the process.
func (p *Policy) permits(a actionv1.Action, key string, f *proctable.Facts) bool {
	return slices.ContainsFunc(p.Allow, func(s Scope) bool { return s.of(a, key) && s.holds(f) })
}

func (s *Scope) of(a actionv1.Action, key string) bool {
	return slices.Contains(s.Actions, a) && (len(s.Keys) == 0 || slices.Contains(s.Keys, key))
}

func (s *Scope) holds(f *proctable.Facts) bool {
	return (len(s.Exes) == 0 || matches(s.Exes, f.Exe)) &&
		(!s.ContainersOnly || f.ContainerID != "") &&
		(len(s.Users) == 0 || slices.Contains(s.Users, f.Row.UID) && slices.Contains(s.Users, f.Row.EUID)) &&
		s.CgroupPrefix.holds(f.Cgroup)
}

// protects tells why a process is never hit; "" means that it may be.
func (p *Policy) protects(f *proctable.Facts) string {
	switch {
	case slices.Contains(p.Protect.PIDs, f.Row.PID):
		return "the policy protects its pid"
	case f.ContainerID == "" && f.Exe != "" && matches(p.Protect.Exes, f.Exe):
		return "the policy protects " + f.Exe
	}
	return ""
}

// PublicKey is an Ed25519 public key, written in base64.
type PublicKey struct{ key ed25519.PublicKey }

// NewPublicKey returns a key for a policy.
func NewPublicKey(k ed25519.PublicKey) PublicKey { return PublicKey{k} }

// UnmarshalText reads base64.
func (k *PublicKey) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return fmt.Errorf("want an Ed25519 public key, 44 characters of base64 as gyre action keygen prints it, got %q", text)
	}
	k.key = raw
	return nil
}

// MarshalText writes base64.
func (k PublicKey) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(k.key)), nil
}

// Glob is a pattern of paths: * stands for any text without /, ? for one such character, ** for any text.
type Glob struct {
	text string
	re   *regexp.Regexp
}

// UnmarshalText compiles a pattern.
func (g *Glob) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "**") {
		return fmt.Errorf("want a pattern of whole paths, such as /tmp/** or **/xmrig, got %q", s)
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "**"):
			b.WriteString(".*")
			i++
		case s[i] == '*':
			b.WriteString("[^/]*")
		case s[i] == '?':
			b.WriteString("[^/]")
		case s[i] < 0x80:
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		default:
			b.WriteByte(s[i])
		}
	}
	re, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return fmt.Errorf("%q is no pattern: %w", s, err)
	}
	g.text, g.re = s, re
	return nil
}

// MarshalText returns the pattern.
func (g Glob) MarshalText() ([]byte, error) { return []byte(g.text), nil }

func matches(list []Glob, name string) bool {
	return name != "" && slices.ContainsFunc(list, func(g Glob) bool { return g.re != nil && g.re.MatchString(name) })
}

// CgroupPath is the path of a control group, from the root of its hierarchy; empty means any.
type CgroupPath string

// UnmarshalText wants a clean absolute path.
func (c *CgroupPath) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.HasPrefix(s, "/") || path.Clean(s) != s {
		return fmt.Errorf("want the path of a control group as /proc/PID/cgroup shows it, such as /kubepods.slice, got %q", s)
	}
	*c = CgroupPath(s)
	return nil
}

// MarshalText returns the path.
func (c CgroupPath) MarshalText() ([]byte, error) { return []byte(c), nil }

func (c CgroupPath) holds(cgroup string) bool {
	return c == "" || c == "/" && cgroup != "" || cgroup == string(c) || strings.HasPrefix(cgroup, string(c)+"/")
}
