package falco

import "github.com/gyre-sec/gyre/schemas/alertv1"

// listItem, macroItem and ruleItem are what files define. index is the order of definition;
// a macro sees those with a smaller index than its visibility.

type listItem struct {
	name       string
	items      []string
	index      int
	visibility int
	ctx        *context
}

type macroItem struct {
	name       string
	cond       text
	index      int
	visibility int
	ctx        *context
	condCtx    *context
}

type ruleItem struct {
	name, source, desc   string
	cond                 text
	output               text
	priority             alertv1.Priority
	enabled              bool
	capture              bool
	captureMillis        uint32
	warnTypes            bool
	skipUnknown          bool
	tags                 []string
	exceptions           []exception
	index                int
	unknown              bool // of a source that is not evaluated
	ctx, condCtx, outCtx *context
}

// entry is a value of an exception: one text or a list of entries.
type entry struct {
	set   bool
	list  bool
	item  text
	items []entry
}

type exception struct {
	name          string
	fields, comps entry
	values        []entry
	ctx           *context
}

// ordered keeps items by name in the order of their first definition.
type ordered[T any] struct {
	byName map[string]*T
	order  []*T
}

func (o *ordered[T]) get(name string) *T { return o.byName[name] }

func (o *ordered[T]) add(name string, x T) *T {
	if o.byName == nil {
		o.byName = map[string]*T{}
	}
	p := &x
	o.byName[name] = p
	o.order = append(o.order, p)
	return p
}
