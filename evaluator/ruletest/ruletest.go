// Package ruletest runs the cases of rules: events written in YAML go through the same
// encoder, decoder and engine as real ones, and the rules that match are compared with
// those that should.
//
//	cases:
//	  - name: a shell reads the password hashes
//	    expect: hit              # or miss; "near miss" is a miss that almost hits
//	    event:
//	      kind: openat
//	      ret: 3                 # default 0; negative is -errno
//	      args: {name: /etc/shadow, flags: O_RDONLY}
//	    process: {name: cat, exe: /usr/bin/cat, args: [cat, /etc/shadow], uid: 1000}
//
// A process may have ancestors, the parent first, each of the same form.
//
// A case of a correlation rule has several events, each at a time after the case's beginning, and may say how many alerts
// the rule raises, if not one:
//
//   - name: five failures and a success
//     expect: hit
//     alerts: 1
//     events:
//   - {at: 0s, repeat: 5, every: 1s, node: web-1, event: {...}, process: {name: su, pid: 700}}
//
// Times are applied as if the stream stored each event when it happened, and time goes on for ever after the last, or as long as `for` says.
package ruletest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// What a case expects.
const (
	Hit      = "hit"
	Miss     = "miss"
	NearMiss = "near miss"
)

// Case is one event and what the rule should say to it.
type Case struct {
	Name    string   `yaml:"name"`
	Rule    string   `yaml:"rule"`
	Expect  string   `yaml:"expect"`
	Event   Event    `yaml:"event"`
	Process *Process `yaml:"process"`
	// Events are those of a case of a correlation rule; Alerts is how many alerts a hit raises, 1 if it is 0.
	Events []Timed `yaml:"events"`
	Alerts int     `yaml:"alerts"`
	// For is how long time goes on, for ever if it is 0.
	For time.Duration `yaml:"for"`
}

// Timed is one of several events, or a run of equal ones.
type Timed struct {
	At      time.Duration `yaml:"at"`
	Node    string        `yaml:"node"`
	Repeat  int           `yaml:"repeat"`
	Every   time.Duration `yaml:"every"`
	Event   Event         `yaml:"event"`
	Process *Process      `yaml:"process"`
}

// Event is the event of a case.
type Event struct {
	Kind string `yaml:"kind"`
	// Node, Seq and At name the event in a case of several: its node, its number there, 1 if it is 0, and when it happens.
	Node string        `yaml:"-"`
	Seq  uint64        `yaml:"-"`
	At   time.Duration `yaml:"-"`
	Ret  int64         `yaml:"ret"`
	// Args by name, as evt.arg.* has them: text, number, or flags such as O_RDWR|O_CREAT.
	Args map[string]any `yaml:"args"`
	// IOUring says that the operation was submitted through io_uring.
	IOUring bool `yaml:"io_uring"`
}

// Process is the process that acts, or an ancestor.
type Process struct {
	// PID names the process in a case of several events; without one it is made of the place in the lineage.
	PID uint32 `yaml:"pid"`
	// ExeAge is how long ago the program file was made, at the case's beginning.
	ExeAge   time.Duration `yaml:"exe_age"`
	Name     string        `yaml:"name"`
	Exe      string        `yaml:"exe"`
	Args     []string      `yaml:"args"`
	Cwd      string        `yaml:"cwd"`
	Env      []string      `yaml:"env"`
	UID      uint32        `yaml:"uid"`
	EUID     *uint32       `yaml:"euid"`
	LoginUID *uint32       `yaml:"loginuid"`
	User     string        `yaml:"user"`
	TTY      string        `yaml:"tty"`
	// VPID is the id in the process's own pid namespace, 0 for the same as outside.
	VPID uint32 `yaml:"vpid"`
	// Container is the id of its container, Facts what is known of that.
	Container string    `yaml:"container"`
	Facts     *Facts    `yaml:"facts"`
	Memfd     bool      `yaml:"memfd"`
	Deleted   bool      `yaml:"deleted"`
	Upper     bool      `yaml:"upper_layer"`
	Setuid    bool      `yaml:"setuid"`
	Ancestors []Process `yaml:"ancestors"`
}

// Result is the outcome of one case.
type Result struct {
	Case string `json:"case"`
	Rule string `json:"rule"`
	Want string `json:"want"`
	Hit  bool   `json:"hit"`
	// Output is what the alert says, for a hit.
	Output string `json:"output,omitempty"`
	// Others are the other rules that matched the event.
	Others []string `json:"others,omitempty"`
	OK     bool     `json:"ok"`
}

// ErrCase is wrapped by errors about a cases file.
var ErrCase = errors.New("invalid case")

// Parse reads a cases file. ruleID is the rule of cases that name none.
func Parse(file, ruleID string, data []byte) ([]Case, error) {
	var doc struct {
		Cases []Case `yaml:"cases"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&doc); err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			p := syntax.GetToken().Position
			return nil, &rule.Error{File: file, Line: p.Line, Col: p.Column, Msg: syntax.GetMessage()}
		}
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for i := range doc.Cases {
		c := &doc.Cases[i]
		if c.Rule == "" {
			c.Rule = ruleID
		}
		switch {
		case c.Rule == "":
			return nil, fmt.Errorf("%w: %s: case %q names no rule", ErrCase, file, c.Name)
		case c.Expect != Hit && c.Expect != Miss && c.Expect != NearMiss:
			return nil, fmt.Errorf("%w: %s: case %q expects %q, want hit, miss or near miss", ErrCase, file, c.Name, c.Expect)
		}
	}
	return doc.Cases, nil
}

// Run runs cases against a set. An error is about a case that cannot be run.
func Run(set *ruleset.Set, cases []Case) ([]Result, error) {
	known, correlates := map[string]bool{}, map[string]bool{}
	for _, r := range set.Rules() {
		known[r.ID], correlates[r.ID] = true, r.Plan != nil
	}
	engine, view := set.Engine(), field.NewView()
	out := make([]Result, 0, len(cases))
	for _, c := range cases {
		if !known[c.Rule] {
			return nil, fmt.Errorf("%w: case %q: there is no enabled rule %s", ErrCase, c.Name, c.Rule)
		}
		if correlates[c.Rule] != (len(c.Events) > 0) {
			return nil, fmt.Errorf("%w: case %q: a rule of a kind needs events, another one event", ErrCase, c.Name)
		}
		if len(c.Events) > 0 {
			r, err := several(set, c)
			if err != nil {
				return nil, fmt.Errorf("%w: case %q: %w", ErrCase, c.Name, err)
			}
			out = append(out, r)
			continue
		}
		data, err := Batch(c)
		if err != nil {
			return nil, fmt.Errorf("%w: case %q: %w", ErrCase, c.Name, err)
		}
		var b eventv1.Batch
		if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
			return nil, fmt.Errorf("decode case %q: %w", c.Name, err)
		}
		r := Result{Case: c.Name, Rule: c.Rule, Want: c.Expect}
		reader, e := eventv1.NewReader(), eventv1.Event{}
		reader.Reset(&b)
		engine.Batch(view, &b)
		for reader.Next(&e) {
			view.Event(&e)
			engine.Eval(view, &e, func(m *ruleset.Rule) {
				if m.ID != c.Rule {
					r.Others = append(r.Others, m.ID)
					return
				}
				r.Hit, r.Output = true, string(m.Output.Append(nil, view))
			})
		}
		if err := reader.Err(); err != nil {
			return nil, fmt.Errorf("decode case %q: %w", c.Name, err)
		}
		r.OK = r.Hit == (c.Expect == Hit)
		out = append(out, r)
	}
	return out, nil
}
