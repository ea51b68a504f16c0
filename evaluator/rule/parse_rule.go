package rule

import (
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

var (
	ruleKeys = []string{
		"id", "name", "description", "source", "condition", "output", "priority", "tags", "mitre", "enabled", "fields", "references", "exceptions", "throttle",
		"kind", "scope", "by", "within", "steps", "until", "count", "distinct", "baseline", "factor", "learn", "every",
	}
	idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	// mitreForm is a technique or sub-technique (T1003.008) or a tactic (TA0006).
	mitreForm = regexp.MustCompile(`^(T\d{4}(\.\d{3})?|TA\d{4})$`)
)

// rule reads one element of rules.
func (p *reader) rule(n ast.Node) {
	r := Rule{Source: "syscall", Enabled: true, Pos: posOf(n.GetToken())}
	seen, c := map[string]entry{}, &Correlation{}
	entries := p.entries(n, "a rule")
	if len(entries) > 0 {
		r.Pos = entries[0].pos
	}
	before := len(p.errs)
	for _, e := range entries {
		seen[e.key] = e
		if slices.Contains(correlationKeys, e.key) {
			p.correlationKey(c, e)
		} else {
			p.ruleKey(&r, e)
		}
	}
	if len(entries) == 0 {
		if len(p.errs) == before {
			p.errorAt(r.Pos, "", "an empty rule")
		}
		return
	}
	c.Pos = r.Pos
	p.correlation(&r, c, seen)
	for _, key := range []string{"id", "name", "condition", "output", "priority"} {
		if key == "condition" && c.Kind != "" && c.Kind != KindMatch {
			continue // depends on the kind
		}
		if _, ok := seen[key]; !ok {
			p.errorAt(r.Pos, "add "+key+": to the rule", "rule %s has no %s", r.ID, key)
		}
	}
	p.out.Rules = append(p.out.Rules, r)
}

func (p *reader) ruleKey(r *Rule, e entry) {
	switch e.key {
	case "id":
		t := p.text(e.value, "id")
		r.ID = t.Value
		if t.Value != "" && !idForm.MatchString(t.Value) {
			p.errorAt(t.Pos, "use lower-case letters, digits, '-', '_' and '.', at most 100", "%q cannot be a rule id", t.Value)
		}
	case "name":
		r.Name = strings.TrimSpace(p.text(e.value, e.key).Value)
	case "description":
		r.Description = strings.TrimSpace(p.text(e.value, e.key).Value)
	case "source":
		t := p.text(e.value, e.key)
		if r.Source = t.Value; r.Source != "syscall" {
			p.errorAt(t.Pos, "the only source is syscall", "unknown source %q", r.Source)
		}
	case "condition":
		r.Condition = p.text(e.value, e.key)
	case "output":
		r.Output = p.text(e.value, e.key)
	case "priority":
		r.Priority = p.priority(e)
	case "tags":
		r.Tags = values(p.strings(e.value, e.key))
	case "mitre":
		for _, t := range p.strings(e.value, e.key) {
			if !mitreForm.MatchString(t.Value) {
				p.errorAt(t.Pos, "write T1003, T1003.008 or TA0006", "%q is no MITRE ATT&CK id", t.Value)
			}
			r.MITRE = append(r.MITRE, t.Value)
		}
	case "enabled":
		r.Enabled = p.boolean(e)
	case "fields":
		r.Fields = p.strings(e.value, e.key)
	case "references":
		r.References = values(p.strings(e.value, e.key))
	case "exceptions":
		r.Exceptions = p.exceptions(e)
	case "throttle":
		r.Throttle = p.throttle(e)
	default:
		p.errorAt(e.pos, nearest(e.key, ruleKeys), "unknown key %q in a rule", e.key)
	}
}

func (p *reader) priority(e entry) alertv1.Priority {
	t := p.text(e.value, e.key)
	if t.Value == "" {
		return 0
	}
	v, err := alertv1.ParsePriority(t.Value)
	if err != nil {
		p.errorAt(t.Pos, "", "%v", err)
	}
	return v
}

func (p *reader) boolean(e entry) bool {
	b, ok := e.value.(*ast.BoolNode)
	if !ok {
		p.errorAt(placeOf(e.value), "", "%s must be true or false, not %s", e.key, describe(e.value))
		return false
	}
	return b.Value
}
