// Package route decides which outputs get an alert, and when: matchers, a tree of routes
// with groups, inhibition, times of silence, and silences.
//
// It is pure: it reads no clock and talks to nobody. CEL belongs to the evaluator; the
// matchers here are those that Alertmanager's users know, with globs for names.
package route

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Match is what an alert must be. Conditions that are set must all hold; a list holds if one of it does.
type Match struct {
	MinPriority string   `yaml:"min_priority" json:"min_priority,omitempty" doc:"this priority or a more severe one"`
	Rules       []string `yaml:"rules" json:"rules,omitempty" doc:"names or ids of rules, with globs * ? [a-z]"`
	Tags        []string `yaml:"tags" json:"tags,omitempty" doc:"tags or MITRE techniques, with globs"`
	Nodes       []string `yaml:"nodes" json:"nodes,omitempty" doc:"nodes, with globs"`
	Namespaces  []string `yaml:"namespaces" json:"namespaces,omitempty" doc:"Kubernetes namespaces, with globs"`
	Sources     []string `yaml:"sources" json:"sources,omitempty" doc:"sources of events, with globs"`
	Matchers    []string `yaml:"matchers" json:"matchers,omitempty" doc:"conditions on any field: name=value, name!=value, name=~regex, name!~regex (anchored at both ends)"`
}

// Empty tells whether m matches everything.
func (m Match) Empty() bool {
	return m.MinPriority == "" && len(m.Rules)+len(m.Tags)+len(m.Nodes)+len(m.Namespaces)+len(m.Sources)+len(m.Matchers) == 0
}

// Validate checks every condition.
func (m Match) Validate() error {
	_, err := m.Compile()
	return err
}

// Matcher is a compiled Match. It is safe for concurrent use.
type Matcher struct {
	limit alertv1.Priority
	globs []globs
	conds []cond
}

type globs struct {
	patterns []string
	values   func(a *alertv1.Alert) []string
}

// Compile checks m and returns its Matcher.
func (m Match) Compile() (*Matcher, error) {
	c := &Matcher{limit: alertv1.Debug}
	var errs []error
	if m.MinPriority != "" {
		var err error
		if c.limit, err = alertv1.ParsePriority(m.MinPriority); err != nil {
			errs = append(errs, fmt.Errorf("min_priority: %w", err))
		}
	}
	for _, g := range []struct {
		key      string
		patterns []string
		values   func(a *alertv1.Alert) []string
	}{
		{"rules", m.Rules, func(a *alertv1.Alert) []string { return []string{a.Rule, a.RuleID} }},
		{"tags", m.Tags, func(a *alertv1.Alert) []string { return append(slices.Clone(a.Tags), a.MITRE...) }},
		{"nodes", m.Nodes, func(a *alertv1.Alert) []string { return []string{a.Node} }},
		{"namespaces", m.Namespaces, func(a *alertv1.Alert) []string { return []string{a.K8s.Namespace} }},
		{"sources", m.Sources, func(a *alertv1.Alert) []string { return []string{a.Source} }},
	} {
		if len(g.patterns) == 0 {
			continue
		}
		for _, p := range g.patterns {
			if _, err := path.Match(p, ""); err != nil {
				errs = append(errs, fmt.Errorf("%s: %q is no glob", g.key, p))
			}
		}
		c.globs = append(c.globs, globs{g.patterns, g.values})
	}
	for _, text := range m.Matchers {
		cd, err := parseCond(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.conds = append(c.conds, cd)
	}
	return c, errors.Join(errs...)
}

// Match tells whether every condition holds.
func (c *Matcher) Match(a *alertv1.Alert) bool {
	if a.Priority > c.limit {
		return false
	}
	for _, g := range c.globs {
		values := g.values(a)
		if !slices.ContainsFunc(g.patterns, func(p string) bool {
			return slices.ContainsFunc(values, func(v string) bool { return glob(p, v) })
		}) {
			return false
		}
	}
	for _, cd := range c.conds {
		if !cd.match(a) {
			return false
		}
	}
	return true
}

// glob matches with * and ? crossing slashes, which names may have.
func glob(pattern, s string) bool {
	const slash = "\x00"
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(s, "/", slash))
	return err == nil && ok
}

// cond is one condition on a field.
type cond struct {
	name, value string
	re          *regexp.Regexp
	not         bool
}

// maxCond bounds the length of a condition, in bytes.
const maxCond = 4096

func parseCond(text string) (cond, error) {
	i := strings.IndexAny(text, "=!")
	bad := func(why string) (cond, error) {
		return cond{}, fmt.Errorf("matcher %q: %s; write name=value, name!=value, name=~regex or name!~regex", text, why)
	}
	if len(text) > maxCond {
		return bad("too long")
	}
	if i <= 0 {
		return bad("no operator after a name")
	}
	c := cond{name: strings.TrimSpace(text[:i])}
	rest := text[i:]
	regex := false
	switch {
	case strings.HasPrefix(rest, "=~"), strings.HasPrefix(rest, "!~"):
		regex, c.not, rest = true, rest[0] == '!', rest[2:]
	case strings.HasPrefix(rest, "!="):
		c.not, rest = true, rest[2:]
	case rest[0] == '=':
		rest = strings.TrimPrefix(rest[1:], "=")
	default:
		return bad("unknown operator")
	}
	if c.value = strings.TrimSpace(rest); len(c.value) > 1 && c.value[0] == '"' {
		v, err := strconv.Unquote(c.value)
		if err != nil {
			return bad("the quotes do not match")
		}
		c.value = v
	}
	if c.name == "" {
		return bad("no name")
	}
	if regex {
		re, err := regexp.Compile("^(?:" + c.value + ")$")
		if err != nil {
			return bad(err.Error())
		}
		c.re = re
	}
	return c, nil
}

// match compares; a field that is absent is "", as a label is in Alertmanager. Of a list one element must match.
func (c *cond) match(a *alertv1.Alert) bool {
	test := func(v string) bool {
		if c.re != nil {
			return c.re.MatchString(v)
		}
		return v == c.value
	}
	values := Values(a, c.name)
	if len(values) == 0 {
		return test("") != c.not
	}
	return slices.ContainsFunc(values, test) != c.not
}

// Values are the values of a field of an alert: of the alert itself (rule, rule_id, priority, node, source, event, namespace,
// pod, container, container_id, image, process, exe, user, tag, mitre, output) or one that the rule attached, such as fd.name.
func Values(a *alertv1.Alert, name string) []string {
	switch name {
	case "rule":
		return []string{a.Rule}
	case "rule_id":
		return []string{a.RuleID}
	case "priority":
		return []string{a.Priority.String()}
	case "node", "hostname":
		return []string{a.Node}
	case "source":
		return []string{a.Source}
	case "event":
		return []string{a.Event}
	case "output":
		return []string{a.Output}
	case "tag":
		return a.Tags
	case "mitre":
		return a.MITRE
	}
	if v, ok := contextValue(a, name); ok {
		return []string{v}
	}
	for _, f := range a.Fields {
		if f.Name != name {
			continue
		}
		switch v := f.Value.(type) {
		case nil:
			return nil
		case []string:
			return v
		default:
			return []string{fmt.Sprint(v)}
		}
	}
	return nil
}

func contextValue(a *alertv1.Alert, name string) (string, bool) {
	switch name {
	case "namespace", "k8s.ns.name":
		return a.K8s.Namespace, true
	case "pod", "k8s.pod.name":
		return a.K8s.Pod, true
	case "container", "container.name":
		return a.Container.Name, true
	case "container_id", "container.id":
		return a.Container.ID, true
	case "image", "container.image":
		return a.Container.Image, true
	case "process", "proc.name":
		return a.Process().Name, true
	case "exe", "proc.exepath":
		return a.Process().Exe, true
	case "user", "user.name":
		return a.User.Name, true
	}
	return "", false
}
