package rule

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

var (
	overrideKeys  = []string{"rule", "enabled", "priority", "tags", "exceptions", "throttle"}
	throttleKeys  = []string{"key", "window"}
	exceptionKeys = []string{"name", "condition"}
)

// override reads one element of overrides.
func (p *reader) override(n ast.Node) {
	o := Override{Pos: placeOf(n)}
	entries := p.entries(n, "an override")
	if len(entries) == 0 {
		return
	}
	o.Pos = entries[0].pos
	for _, e := range entries {
		switch e.key {
		case "rule":
			o.Rule = p.text(e.value, e.key)
		case "enabled":
			b := p.boolean(e)
			o.Enabled = &b
		case "priority":
			v := p.priority(e)
			o.Priority = &v
		case "tags":
			o.Tags = values(p.strings(e.value, e.key))
		case "exceptions":
			o.Exceptions = p.exceptions(e)
		case "throttle":
			o.Throttle = p.throttle(e)
		default:
			p.errorAt(e.pos, nearest(e.key, overrideKeys), "unknown key %q in an override", e.key)
		}
	}
	if o.Rule.Value == "" {
		p.errorAt(o.Pos, "add rule: with the id of the rule", "an override names no rule")
	}
	p.out.Overrides = append(p.out.Overrides, o)
}

func (p *reader) exceptions(e entry) []Exception {
	var out []Exception
	first := map[string]int{}
	for _, item := range p.items(e.value, e.key) {
		var x Exception
		pos := placeOf(item)
		for _, e := range p.entries(item, "an exception") {
			switch e.key {
			case "name":
				x.Name, pos = p.text(e.value, e.key).Value, e.pos
			case "condition":
				x.Condition = p.text(e.value, "the condition of an exception")
			default:
				p.errorAt(e.pos, nearest(e.key, exceptionKeys), "unknown key %q in an exception", e.key)
			}
		}
		line, again := first[x.Name]
		switch {
		case x.Name == "" || x.Condition.Value == "":
			p.errorAt(pos, "write name: and condition:", "an exception needs a name and a condition")
			continue
		case again:
			p.errorAt(pos, "rename one of them", "exception %q repeated, first on line %d", x.Name, line)
			continue
		}
		first[x.Name] = pos.Line
		out = append(out, x)
	}
	return out
}

func (p *reader) throttle(e entry) *Throttle {
	t := &Throttle{}
	before := len(p.errs)
	for _, x := range p.entries(e.value, e.key) {
		switch x.key {
		case "key":
			t.Key = p.strings(x.value, x.key)
		case "window":
			text := p.text(x.value, x.key)
			d, err := time.ParseDuration(text.Value)
			if err != nil || d < MinWindow || d > MaxWindow {
				p.errorAt(placeOf(x.value), "write 10m, at least "+MinWindow.String()+" and at most "+MaxWindow.String(), "%q cannot be a window", text.Value)
			}
			t.Window = d
		default:
			p.errorAt(x.pos, nearest(x.key, throttleKeys), "unknown key %q in throttle", x.key)
		}
	}
	if t.Window == 0 && len(p.errs) == before {
		p.errorAt(e.pos, "add window: 10m", "throttle has no window")
	}
	return t
}
