package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Route is a node of the tree. What is not set is as in the parent, conditions apart.
type Route struct {
	Match          `yaml:",inline"`
	Outputs        []string      `yaml:"outputs" doc:"names of the outputs that get the alert; none alone means nobody"`
	Continue       bool          `yaml:"continue" doc:"go on with the next sibling after this route"`
	GroupBy        []string      `yaml:"group_by" doc:"alerts with the same values of these fields are notified together; ... alone means each on its own"`
	GroupWait      time.Duration `yaml:"group_wait" doc:"how long the first alert of a group waits for others"`
	GroupInterval  time.Duration `yaml:"group_interval" doc:"how long after a notification the next one of the group comes"`
	RepeatInterval time.Duration `yaml:"repeat_interval" doc:"alerts of a rule and node that were notified less than this ago in the group are counted and not notified"`
	MuteIntervals  []string      `yaml:"mute_intervals" doc:"names of intervals in which nothing is notified"`
	ActiveInterval []string      `yaml:"active_intervals" doc:"names of intervals outside of which nothing is notified"`
	Routes         []Route       `yaml:"routes" doc:"routes below this one; the first that matches counts, unless it says continue"`
}

// Nobody as the only output of a route sends what takes it nowhere.
const Nobody = "none"

// Group says how alerts that took a route are put together. Wait 0 means that they are not.
type Group struct {
	// By is nil when alerts are not grouped.
	By                     []string
	Wait, Interval, Repeat time.Duration
	// ID names the route.
	ID string
}

// Key is the values of the fields that the group is made of.
func (g *Group) Key(a *alertv1.Alert) string {
	var b strings.Builder
	b.WriteString(g.ID)
	for _, name := range g.By {
		b.WriteByte(0)
		b.WriteString(strings.Join(Values(a, name), "\x01"))
	}
	return b.String()
}

// Target is an output that an alert goes to.
type Target struct {
	Output string
	Group  *Group
	// Muted by an interval of the route: it is not to be notified.
	Muted bool
}

// Tree is a compiled tree. It is safe for concurrent use.
type Tree struct{ root *node }

type node struct {
	match        *Matcher
	outputs      []string
	group        *Group
	mute, active []*Interval
	cont         bool
	children     []*node
}

// Compile checks a tree; outputs and intervals are what it may name. A root without outputs sends to all.
func (r Route) Compile(outputs []string, intervals map[string]*Interval) (*Tree, error) {
	if len(r.Outputs) == 0 {
		r.Outputs = outputs
	}
	c := compiler{outputs, intervals, nil}
	if !r.Empty() {
		c.fail("route", errors.New("the root takes no conditions: every alert enters there"))
	}
	n := c.compile("route", r, &node{group: &Group{}})
	return &Tree{n}, errors.Join(c.errs...)
}

type compiler struct {
	outputs   []string
	intervals map[string]*Interval
	errs      []error
}

func (c *compiler) fail(path string, err error) {
	c.errs = append(c.errs, fmt.Errorf("%s: %w", path, err))
}

func (c *compiler) compile(path string, r Route, parent *node) *node {
	n := &node{outputs: r.Outputs, cont: r.Continue, mute: parent.mute, active: parent.active}
	var err error
	if n.match, err = r.Match.Compile(); err != nil {
		c.fail(path, err)
	}
	if len(r.Outputs) == 0 {
		n.outputs = parent.outputs
	}
	if len(r.Outputs) == 1 && r.Outputs[0] == Nobody {
		n.outputs = nil
		r.Outputs = nil
	}
	for _, o := range r.Outputs {
		if !slices.Contains(c.outputs, o) {
			c.fail(path, fmt.Errorf("outputs: there is no output %q; there are %s", o, strings.Join(c.outputs, ", ")))
		}
	}
	g := *parent.group
	g.ID = path
	if r.GroupBy != nil {
		g.By = r.GroupBy
		if len(g.By) == 1 && g.By[0] == "..." {
			g.By = nil
		}
	}
	for _, d := range []struct {
		key     string
		v, most time.Duration
		to      *time.Duration
	}{{"group_wait", r.GroupWait, time.Hour, &g.Wait}, {"group_interval", r.GroupInterval, time.Hour, &g.Interval}, {"repeat_interval", r.RepeatInterval, 366 * 24 * time.Hour, &g.Repeat}} {
		if d.v < 0 || d.v > d.most {
			c.fail(path, fmt.Errorf("%s is %s, want 0 to %s", d.key, d.v, d.most))
		}
		if d.v > 0 {
			*d.to = d.v
		}
	}
	if g.By != nil && g.Wait == 0 {
		g.Wait = 30 * time.Second
	}
	if g.By != nil && g.Interval == 0 {
		g.Interval = 5 * time.Minute
	}
	n.group = &g
	if r.MuteIntervals != nil {
		n.mute = c.named(path, r.MuteIntervals)
	}
	if r.ActiveInterval != nil {
		n.active = c.named(path, r.ActiveInterval)
	}
	for i, child := range r.Routes {
		n.children = append(n.children, c.compile(fmt.Sprintf("%s.routes[%d]", path, i), child, n))
	}
	return n
}

func (c *compiler) named(path string, names []string) []*Interval {
	out := []*Interval{}
	for _, name := range names {
		if i := c.intervals[name]; i != nil {
			out = append(out, i)
		} else {
			c.fail(path, fmt.Errorf("there is no interval %q in sink.intervals", name))
		}
	}
	return out
}

// Targets returns the outputs of an alert that is notified at now. Each is there once: the first route that leads to it counts.
func (t *Tree) Targets(a *alertv1.Alert, now time.Time) []Target {
	var out []Target
	t.root.walk(a, now, &out)
	return out
}

// walk tells whether the node took the alert.
func (n *node) walk(a *alertv1.Alert, now time.Time, out *[]Target) bool {
	if !n.match.Match(a) {
		return false
	}
	taken := false
	for _, c := range n.children {
		if c.walk(a, now, out) {
			taken = true
			if !c.cont {
				break
			}
		}
	}
	if taken {
		return true
	}
	contains := func(list []*Interval) bool {
		return slices.ContainsFunc(list, func(i *Interval) bool { return i.Contains(now) })
	}
	muted := contains(n.mute) || len(n.active) > 0 && !contains(n.active)
	for _, o := range n.outputs {
		if !slices.ContainsFunc(*out, func(t Target) bool { return t.Output == o }) {
			*out = append(*out, Target{o, n.group, muted})
		}
	}
	return true
}
