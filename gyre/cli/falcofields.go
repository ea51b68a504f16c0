package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
)

// falcoField is one of Falco's fields. Gyre is "yes", "no", or the name of the source whose events alone have it.
type falcoField struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	List   bool   `json:"list"`
	Source string `json:"source"`
	Gyre   string `json:"gyre"`
	Reason string `json:"reason,omitempty"`
}

func describeFalcoField(name string) falcoField {
	f, _ := vocab.Lookup(name)
	out := falcoField{Name: f.Name, Type: string(f.Type), List: f.List, Source: f.Source, Gyre: "yes"}
	arg := ""
	if f.ArgRequired { // one that is sure to be known
		arg = map[string]string{"evt.arg": "name", "evt.rawarg": "fd", "evt.type.is": "open", "evt.abspath": "src"}[name]
		if arg == "" {
			arg = "x"
		}
	}
	missing, err := translate.Absent(name, arg, f.ArgRequired)
	switch {
	case f.Source != falco.Syscall && f.Source != "any":
		out.Gyre = "only for " + f.Source
	case err != nil || missing != "":
		out.Gyre, out.Reason = "no", translate.Reason(name)
	}
	return out
}

// falcoFields lists Falco's fields.
func (a *app) falcoFields(prefix string, asJSON, markdown bool) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"field", "type", "source", "in gyre", "why not"})
	for _, name := range vocab.Names() {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		f := describeFalcoField(name)
		if asJSON {
			if err := enc.Encode(f); err != nil {
				return err
			}
			continue
		}
		typ := f.Type
		if f.List {
			typ = "list of " + typ
		}
		t.AppendRow(table.Row{f.Name, typ, f.Source, f.Gyre, f.Reason})
	}
	text := t.Render
	switch {
	case asJSON:
		return nil
	case markdown:
		text = t.RenderMarkdown
	}
	_, err := fmt.Fprintln(a.out, text())
	return err
}
