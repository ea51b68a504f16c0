// Package vocab is what a Falco rule can name: the fields with their types, the event
// types with their parameters and the names of system calls. It says nothing about
// which of them gyre can answer.
//
// The tables are facts about Falco 0.44 (engine 0.63) with the plugins container,
// k8smeta, k8saudit, json, cloudtrail, gcpaudit, okta and github, and about Linux.
// They are read once and never change.
package vocab

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

// Type is Falco's name of a type, such as "string", "uint32", "ipnet" or "flags32".
type Type string

// The types that are neither numbers nor treated like another one.
const (
	String Type = "string"
	Bytes  Type = "bytes"
	Bool   Type = "bool"
	IPAddr Type = "ipaddr"
	IPNet  Type = "ipnet"
	Port   Type = "port"
	Double Type = "double"
	// Dynamic is the type of evt.rawarg: that of the parameter it names.
	Dynamic Type = "dyn"
)

// Group is how values of a type are compared.
type Group uint8

// The groups.
const (
	Text Group = iota
	Number
	Boolean
	Buffer
	Network
	Other
)

// Group returns how values of the type are compared.
func (t Type) Group() Group {
	switch t {
	case String, "fspath", "fsrelpath":
		return Text
	case Bytes:
		return Buffer
	case Bool:
		return Boolean
	case IPAddr, IPNet:
		return Network
	case "sockaddr", "socktuple", "fdlist", "sigset", Dynamic:
		return Other
	}
	return Number
}

// Field is a field as Falco declares it.
type Field struct {
	Name string
	Type Type
	// List: the field has any number of values.
	List bool
	// An argument in brackets is needed, or possible.
	ArgRequired, ArgAllowed bool
	// The field cannot stand on the right side, or within a transformer.
	NoRight, NoTransform bool
	// The field is for conditions only, or for outputs only.
	ConditionOnly, OutputOnly bool
	Deprecated                bool
	// Source of the events that have it: "syscall", a plugin's, or "any".
	Source string
}

// Param is a parameter of an event type.
type Param struct {
	Name string
	Type Type
}

type event struct {
	name   string
	old    bool
	params []Param
}

//go:embed fields.tsv
var fieldsTSV string

//go:embed events.tsv
var eventsTSV string

//go:embed syscalls.txt
var syscallsTXT string

var (
	fields   = readFields()
	events   = readEvents()
	codes    = codesByName()
	params   = paramsByName()
	syscalls = strings.Fields(syscallsTXT) // sorted
)

func rows(tsv string) [][]string {
	var out [][]string
	for line := range strings.Lines(tsv) {
		out = append(out, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return out
}

func readFields() map[string]Field {
	m := map[string]Field{}
	for _, r := range rows(fieldsTSV) {
		flags := strings.Split(r[2], ",")
		has := func(f string) bool { return slices.Contains(flags, f) }
		m[r[0]] = Field{
			Name: r[0], Type: Type(r[1]), List: has("list"), ArgRequired: has("argreq"), ArgAllowed: has("arg") || has("argreq"),
			NoRight: has("norhs"), NoTransform: has("notransform"), ConditionOnly: has("filteronly"), OutputOnly: has("printonly"),
			Deprecated: has("deprecated"), Source: r[3],
		}
	}
	return m
}

func readEvents() []event {
	table := rows(eventsTSV)
	out := make([]event, len(table))
	for i, r := range table {
		out[i] = event{name: r[1], old: r[2] == "old"}
		for p := range strings.FieldsSeq(r[3]) {
			name, typ, _ := strings.Cut(p, ":")
			out[i].params = append(out[i].params, Param{name, Type(typ)})
		}
	}
	return out
}

func codesByName() map[string][]int {
	m := map[string][]int{}
	for i, e := range events {
		m[e.name] = append(m[e.name], i)
	}
	return m
}

func paramsByName() map[string][]Type {
	m := map[string][]Type{}
	for _, e := range events {
		for _, p := range e.params {
			if !slices.Contains(m[p.Name], p.Type) {
				m[p.Name] = append(m[p.Name], p.Type)
			}
		}
	}
	return m
}

// Lookup finds a field by its bare name.
func Lookup(name string) (Field, bool) {
	f, ok := fields[name]
	return f, ok
}

// Names lists the fields, sorted.
func Names() []string {
	out := make([]string, 0, len(fields))
	for n := range fields {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Codes is the number of event codes; a type of event has several, one per direction and format.
func Codes() int { return len(events) }

// CodesOf lists the codes of an event type; a system call without one of its own shares that of all such calls.
func CodesOf(name string) []int {
	if c := codes[name]; len(c) > 0 {
		return c
	}
	if _, ok := slices.BinarySearch(syscalls, name); ok {
		return codes["syscall"]
	}
	return nil
}

// ParamsAt returns the parameters number n, from 0, of the event types that have one in their present
// format: the names of the types by the parameter's name.
func ParamsAt(n int) map[string][]string {
	out := map[string][]string{}
	for i, e := range events {
		if exit := i%2 == 1; exit && !e.old && n < len(e.params) {
			p := e.params[n].Name
			if !slices.Contains(out[p], e.name) {
				out[p] = append(out[p], e.name)
			}
		}
	}
	return out
}

// ParamTypes lists the types that a parameter of this name has in any event type.
func ParamTypes(name string) []Type { return params[name] }

// argument reads the n of evt.arg[n].
func argument(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}
