package format

import (
	"encoding/json"
	"fmt"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Fit returns gyre's JSON of an alert in at most limit bytes: its texts are cut, and if need be its lineage and fields left out.
func Fit(a *alertv1.Alert, limit int) ([]byte, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode alert %s: %w", a.ID, err)
	}
	for n := limit / 2; len(b) > limit && n >= 8; n /= 2 {
		if b, err = json.Marshal(shrunk(a, n)); err != nil {
			return nil, fmt.Errorf("encode alert %s: %w", a.ID, err)
		}
	}
	if len(b) > limit {
		return nil, fmt.Errorf("encode alert %s: it does not fit into %d bytes", a.ID, limit)
	}
	return b, nil
}

// shrunk is the alert with every text cut to n bytes.
func shrunk(a *alertv1.Alert, n int) *alertv1.Alert {
	c := func(s string) string { return notify.CutBytes(notify.Clean(s), n) }
	s := *a
	s.Output, s.Rule, s.RuleID, s.Node = c(a.Output), c(a.Rule), c(a.RuleID), c(a.Node)
	s.Fields, s.Lineage = nil, nil
	for i, f := range a.Fields {
		if i*16 > n {
			break
		}
		switch v := f.Value.(type) {
		case string:
			f.Value = c(v)
		case []string:
			f.Value = c(notify.FieldText(v))
		}
		s.Fields = append(s.Fields, f)
	}
	for i, p := range a.Lineage {
		if i*64 > n {
			break
		}
		p.Cmdline, p.Exe, p.Cwd, p.Name = c(p.Cmdline), c(p.Exe), c(p.Cwd), c(p.Name)
		s.Lineage = append(s.Lineage, p)
	}
	list := func(in []string) []string {
		out := []string{}
		for i, t := range in {
			if i*16 > n {
				break
			}
			out = append(out, c(t))
		}
		return out
	}
	s.Tags, s.MITRE = list(a.Tags), list(a.MITRE)
	return &s
}

// Cleaned is the alert with texts that are valid UTF-8 and hold no control characters, for stores that refuse them.
func Cleaned(a *alertv1.Alert) *alertv1.Alert { return shrunk(a, 1<<20) }
