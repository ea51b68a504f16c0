package label

import (
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// key reads the value that a lookup is made by from a row of a batch's tables.
type key struct {
	field *field.Field
	name  string // of an element of a list: k8s.pod.label[app]
}

// newKey finds the field that is written so.
func newKey(s string) (key, error) {
	name, elem, indexed := strings.Cut(strings.TrimSuffix(s, "]"), "[")
	if indexed != strings.HasSuffix(s, "]") {
		return key{}, fmt.Errorf("field is %q, want a field, or one of its labels as in k8s.pod.label[app]", s)
	}
	f, ok := field.Lookup(name)
	switch {
	case !ok:
		return key{}, fmt.Errorf("field is %q, which is no field: gyre fields lists them", s)
	case f.Kinds != nil, f.From == field.FromEvent, f.From == field.FromIntel, f.Name == "proc.duration":
		return key{}, fmt.Errorf("field is %q, which events have: a lookup is made by fields of the node, a container, a pod, a user or a process", s)
	case f.Type == field.List && !indexed:
		return key{}, fmt.Errorf("field is %q, which is a list: name an element, as in %s[app]", s, name)
	case f.Type != field.List && indexed:
		return key{}, fmt.Errorf("field is %q: %s has no elements", s, name)
	case f.Type == field.Bool:
		return key{}, fmt.Errorf("field is %q, which is true or false: want text or a number", s)
	}
	return key{f, elem}, nil
}

// read returns the value for the row that v is at.
func (k key) read(v *field.View) string {
	switch x := k.field.Value(v).(type) {
	case string:
		return x
	case int64:
		return fmt.Sprint(x)
	case []string:
		for _, s := range x {
			if name, value, ok := strings.Cut(s, "="); ok && name == k.name {
				return value
			}
		}
	}
	return ""
}

// rows calls visit once for each row that the key's field is of, with a view at a process that has it.
func (k key) rows(b *eventv1.Batch, v *field.View, visit func(labels *[]eventv1.Label)) {
	e := eventv1.Event{Proc: -1}
	at := func(proc int) {
		e.Proc = int32(proc)
		v.Event(&e)
	}
	switch k.field.From {
	case field.FromNode:
		at(-1)
		visit(&b.Labels)
	case field.FromContainer:
		each(b, len(b.Containers), func(p *eventv1.Proc) int32 { return p.Container }, func(proc int, row int32) { at(proc); visit(&b.Containers[row].Labels) })
	case field.FromUser:
		each(b, len(b.Users), func(p *eventv1.Proc) int32 { return p.User }, func(proc int, row int32) { at(proc); visit(&b.Users[row].Labels) })
	default:
		for i := range b.Procs {
			at(i)
			visit(&b.Procs[i].Labels)
		}
	}
}

// each calls visit for the first process of each row that processes point to.
func each(b *eventv1.Batch, n int, of func(*eventv1.Proc) int32, visit func(proc int, row int32)) {
	if n == 0 {
		return
	}
	seen := make([]bool, n)
	for i := range b.Procs {
		if row := of(&b.Procs[i]); row >= 0 && int(row) < n && !seen[row] {
			seen[row] = true
			visit(i, row)
		}
	}
}
