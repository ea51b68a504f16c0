package translate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// endpoints are the fields that stand for both ends of a connection.
var endpoints = map[string][2]string{
	"fd.ip": {"fd.cip", "fd.sip"}, "fd.port": {"fd.cport", "fd.sport"}, "fd.proto": {"fd.cport", "fd.sport"}, "fd.net": {"fd.cip", "fd.sip"},
}

// networks are the fields whose address is compared with networks.
var networks = map[string]string{"fd.cnet": "fd.cip", "fd.snet": "fd.sip", "fd.lnet": "fd.lip", "fd.rnet": "fd.rip"}

// other names of fields that mean the same.
var aliases = map[string]string{
	"k8smeta.pod.name": "k8s.pod.name", "k8smeta.pod.uid": "k8s.pod.uid", "k8smeta.ns.name": "k8s.ns.name", "k8s.pod.id": "k8s.pod.uid",
	"syscall.type": "evt.type", "evt.info": "evt.args",
	"k8s.ns.id": "k8s.ns.uid", "k8s.rs.id": "k8s.rs.uid", "k8s.rc.id": "k8s.rc.uid", "k8s.deployment.id": "k8s.deployment.uid",
	"k8smeta.pod.ip": "k8s.pod.ip", "k8smeta.pod.label": "k8s.pod.label", "k8smeta.pod.labels": "k8s.pod.labels",
	"k8smeta.ns.uid": "k8s.ns.uid", "k8smeta.ns.label": "k8s.ns.label", "k8smeta.ns.labels": "k8s.ns.labels",
	"k8smeta.deployment.name": "k8s.deployment.name", "k8smeta.deployment.uid": "k8s.deployment.uid",
	"k8smeta.rs.name": "k8s.rs.name", "k8smeta.rs.uid": "k8s.rs.uid", "k8smeta.rc.name": "k8s.rc.name", "k8smeta.rc.uid": "k8s.rc.uid",
	"k8smeta.svc.name": "k8s.svc.name",
}

// Alias is the name in the catalogue of a field that Falco alone knows under this one; other names are returned as they are.
func Alias(name string) string {
	if _, ok := field.Lookup(name); ok {
		return name
	}
	if a, ok := aliases[name]; ok {
		return a
	}
	return name
}

// notForUs are fields that events of system calls do not have in Falco either: they are absent without a warning.
var notForUs = map[string]bool{"evt.pluginname": true, "evt.plugininfo": true, "evt.asynctype": true}

// Absent returns why a field is never there: "" if it can be.
func Absent(name, arg string, hasArg bool) (string, error) {
	u, err := vocab.Resolve(name, arg, hasArg)
	if err != nil {
		return "", err
	}
	t := &translator{}
	if v := t.use(u); v.absent && !notForUs[u.Name] {
		return spelled(u), nil
	}
	return "", nil
}

func spelled(u vocab.Use) string {
	switch {
	case u.HasArg && (u.Name == "evt.arg" || u.Name == "evt.rawarg"):
		if _, n := u.Position(); !n {
			return u.Name + "." + u.Arg
		}
		return u.Name + "[" + u.Arg + "]"
	case u.HasArg:
		return u.Name + "[" + u.Arg + "]"
	}
	return u.Name
}

// use finds the value of a field; one that gyre does not have is absent.
func (t *translator) use(u vocab.Use) value {
	v := t.find(u)
	v.name, v.list = spelled(u), u.List
	if v.typ == "" {
		v.typ = u.ValueType()
	}
	v.noRight, v.noTransform = u.NoRight, u.NoTransform
	if u.HasArg && u.Name != "evt.rawarg" { // with an index the fields of ancestors are like any other
		v.noRight, v.noTransform = false, false
	}
	v.network = u.Type == vocab.IPNet
	return v
}

func (t *translator) find(u vocab.Use) value {
	if v, ok := special(t, u); ok {
		return v
	}
	switch {
	case (u.Name == "evt.arg" || u.Name == "evt.rawarg") && u.HasArg:
		return argument(u)
	case strings.HasPrefix(u.Name, "container.mount") && u.HasArg:
		return mounted(u)
	case u.HasArg:
		return t.indexed(u)
	}
	f, ok := field.Lookup(Alias(u.Name))
	if !ok {
		return value{absent: true}
	}
	v := catalogued(f, u.Name, u.Type)
	if f.Type == field.List && !u.List { // Falco has the elements in one string
		v.text, v.cel = v.text+`.join(" ")`, field.String
	}
	if u.Name == "syscall.type" && f.Name == "evt.type" {
		v.guards = append(v.guards, relate("evt.type", "!=", `"procexit"`))
		v.plain = false
	}
	return v
}

// special are fields that are not one of the catalogue.
func special(t *translator, u vocab.Use) (value, bool) {
	if ends, ok := endpoints[u.Name]; ok {
		v := value{typ: u.Type}
		for _, name := range ends {
			f, ok := field.Lookup(name)
			if !ok {
				return value{absent: true}, true
			}
			v.ends = append(v.ends, catalogued(f, name, u.Type))
		}
		return v, true
	}
	if name, ok := networks[u.Name]; ok {
		if f, ok := field.Lookup(name); ok {
			return catalogued(f, u.Name, u.Type), true
		}
		return value{absent: true}, true
	}
	switch u.Name {
	case "evt.dir":
		return constant(u.Name, "<", u.Type), true
	case "evt.type.is":
		text := "(evt.type == " + quote(u.Arg) + " ? 1 : 0)"
		return value{text: text, cel: field.Int, plain: true}, true
	case "evt.count":
		return value{text: "1", cel: field.Int, plain: true}, true
	case "evt.is_async":
		return value{text: "false", cel: field.Bool, plain: true}, true
	case "proc.aname", "proc.aexe", "proc.aexepath", "proc.acmdline", "proc.aargs", "proc.apid":
		if f, ok := field.Lookup(u.Name); ok && f.Type == field.List {
			return ancestors(u), true
		}
	}
	return value{}, false
}

// ancestors is proc.aname and its like: with an index one process of the lineage, without one any above the process itself.
func ancestors(u vocab.Use) value {
	if n, ok := u.Position(); u.HasArg && ok {
		i := strconv.Itoa(n)
		return value{text: u.Name + "[" + i + "]", cel: field.String, guards: []cond{relate(u.Name+".size()", ">", i)}}
	}
	return value{text: u.Name + ".ancestors()", cel: field.List, each: true, guards: []cond{relate(u.Name+".size()", ">", "1")}, plain: true}
}

// mounted is container.mount and its like: by number, or of the first mount whose source fits a regular expression.
// The source itself is found by the place where the container sees it.
func mounted(u vocab.Use) value {
	if n, ok := u.Position(); ok {
		i := strconv.Itoa(n)
		return value{text: u.Name + "[" + i + "]", cel: field.String, guards: []cond{relate(u.Name+".size()", ">", i)}}
	}
	if _, err := regexp.Compile(u.Arg); err != nil {
		return value{absent: true}
	}
	keys := "container.mount.source"
	if u.Name == keys {
		keys = "container.mount.dest"
	}
	at := keys + ".indexOfMatch(" + quote(u.Arg) + ")"
	return value{text: u.Name + "[" + at + "]", cel: field.String, guards: []cond{relate(at, ">=", "0")}}
}

// indexed is a field with an argument.
func (t *translator) indexed(u vocab.Use) value {
	if f, ok := field.Lookup(u.Name + "." + u.Arg); ok {
		return catalogued(f, u.Name, u.Type)
	}
	f, ok := field.Lookup(Alias(u.Name))
	if !ok || f.Type != field.List {
		return value{absent: true}
	}
	if n, number := u.Position(); number {
		i := strconv.Itoa(n)
		return value{text: f.Name + "[" + i + "]", cel: field.String, guards: []cond{relate(f.Name+".size()", ">", i)}}
	}
	key := quote(u.Arg)
	return value{text: f.Name + ".valueOf(" + key + ")", cel: field.String, guards: []cond{call(f.Name, "hasValue", key)}, plain: true}
}

// argument is evt.arg.name, evt.arg[n] or evt.rawarg.name.
func argument(u vocab.Use) value {
	if n, ok := u.Position(); ok {
		return argumentAt(u, n)
	}
	if u.Arg == "res" && u.Name == "evt.rawarg" {
		f, _ := field.Lookup("evt.rawres")
		return catalogued(f, u.Name, u.ValueType())
	}
	f, ok := field.Lookup("evt.arg." + u.Arg)
	if name, has := field.Lookup("evt.arg." + u.Arg + ".name"); has && u.Name == "evt.arg" {
		f = name // a user
	}
	if u.Name == "evt.rawarg" {
		if raw, has := field.Lookup("evt.rawarg." + u.Arg); has {
			f, ok = raw, true
		}
		if ok && (f.Type == field.Int) != (u.ValueType().Group() == vocab.Number) {
			ok = false // the catalogue has the text only
		}
	}
	if !ok {
		return value{absent: true}
	}
	return catalogued(f, u.Name, u.ValueType())
}

// argumentAt is evt.arg[n]: the n-th parameter has another name in each event type.
func argumentAt(u vocab.Use, n int) value {
	v := value{typ: vocab.String}
	byName := vocab.ParamsAt(n)
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, ok := field.Lookup("evt.arg." + name)
		if !ok {
			continue
		}
		var types []string
		for _, typ := range byName[name] {
			if k, known := eventv1.ParseKind(typ); known && f.Has(k) {
				types = append(types, typ)
			}
		}
		if len(types) > 0 {
			v.cases = append(v.cases, eventCase{types, catalogued(f, "evt.arg."+name, vocab.String)})
		}
	}
	v.absent = v.cases == nil
	return v
}

// knownType checks the name of an event type; seen tells whether the collector reports it.
func knownType(name string) (seen bool, err error) {
	if len(vocab.CodesOf(name)) == 0 {
		return false, vocab.Unknown("unknown event type %s", name)
	}
	_, seen = eventv1.ParseKind(name)
	return seen, nil
}
