package alertv1

import (
	"errors"
	"fmt"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// ErrVersion is returned for an alert of a newer major version than this program reads.
var ErrVersion = errors.New("alert is of a newer wire version")

// Limits on what a decoder believes.
const (
	maxList    = 4096
	maxLineage = 1024
)

// Marshal writes the alert as one msgpack array:
//
//	[version, id, time, rule_id, rule, priority, source, node, boot_id, seq, event, output, tags[], mitre[], ruleset,
//	 fields[[name, value]...], lineage[[exec_id, pid, name, exe, cmdline, cwd, uid, user, start]...],
//	 user[uid, name, login_uid, login_name], container[id, name, image], k8s[namespace, pod],
//	 events[[step, time, node, boot_id, seq, kind, exec_id, pid, process, cmdline, detail]...]]
//
// The events are there only if there are any.
//
// It fails only on a field value of a type that [Field] does not allow.
func (a *Alert) Marshal() ([]byte, error) {
	e := wire.NewEncoder()
	if len(a.Events) > 0 {
		e.Array(21)
	} else {
		e.Array(20)
	}
	e.Int(Version)
	e.Bytes(a.ID[:])
	e.Int(a.Time)
	e.String(a.RuleID)
	e.String(a.Rule)
	e.Uint(uint64(a.Priority))
	e.String(a.Source)
	e.String(a.Node)
	e.String(a.BootID)
	e.Uint(a.Seq)
	e.String(a.Event)
	e.String(a.Output)
	encodeStrings(e, a.Tags)
	encodeStrings(e, a.MITRE)
	e.String(a.Ruleset)
	e.Array(len(a.Fields))
	for _, f := range a.Fields {
		e.Array(2)
		e.String(f.Name)
		if err := encodeValue(e, f); err != nil {
			return nil, err
		}
	}
	e.Array(len(a.Lineage))
	for i := range a.Lineage {
		a.Lineage[i].encode(e)
	}
	e.Array(4)
	e.Uint(uint64(a.User.UID))
	e.String(a.User.Name)
	e.Uint(uint64(a.User.LoginUID))
	e.String(a.User.LoginName)
	encodeStrings(e, []string{a.Container.ID, a.Container.Name, a.Container.Image})
	encodeStrings(e, []string{a.K8s.Namespace, a.K8s.Pod})
	if len(a.Events) > 0 {
		e.Array(len(a.Events))
		for i := range a.Events {
			a.Events[i].encode(e)
		}
	}
	return e.Data(), nil
}

func encodeStrings(e *wire.Encoder, s []string) {
	e.Array(len(s))
	for _, v := range s {
		e.String(v)
	}
}

func encodeValue(e *wire.Encoder, f Field) error {
	switch v := f.Value.(type) {
	case nil:
		e.Nil()
	case string:
		e.String(v)
	case int64:
		e.Int(v)
	case bool:
		e.Bool(v)
	case []string:
		encodeStrings(e, v)
	default:
		return fmt.Errorf("encode alert field %s: type %T is not one of string, int64, bool, []string", f.Name, f.Value)
	}
	return nil
}

func (p *Process) encode(e *wire.Encoder) {
	e.Array(9)
	e.String(p.ExecID)
	e.Uint(uint64(p.PID))
	e.String(p.Name)
	e.String(p.Exe)
	e.String(p.Cmdline)
	e.String(p.Cwd)
	e.Uint(uint64(p.UID))
	e.String(p.User)
	e.Int(p.Start)
}

// Unmarshal reads what [Alert.Marshal] wrote, now or in any earlier release.
// Errors wrap [ErrVersion] or [wire.ErrMalformed]: they are permanent.
func Unmarshal(data []byte) (Alert, error) {
	var a Alert
	d := wire.NewDecoder()
	d.Reset(data)
	n := d.Array("alert", maxList)
	if v := d.Int(); d.Err() == nil && v != Version {
		return a, fmt.Errorf("%w: %d, want %d", ErrVersion, v, Version)
	}
	if d.Err() == nil && n < 20 {
		d.Fail("alert of %d elements, want at least 20", n)
	}
	if id := d.Bytes(); len(id) == len(a.ID) {
		copy(a.ID[:], id)
	} else {
		d.Fail("alert id of %d bytes, want 16", len(id))
	}
	a.Time = d.Int()
	a.RuleID, a.Rule = d.String(), d.String()
	p := d.Uint()
	if a.Priority = Priority(p); p > 255 || !a.Priority.Valid() {
		d.Fail("priority %d", p)
	}
	a.Source, a.Node, a.BootID, a.Seq = d.String(), d.String(), d.String(), d.Uint()
	a.Event, a.Output = d.String(), d.String()
	a.Tags, a.MITRE, a.Ruleset = decodeStrings(d, "tags"), decodeStrings(d, "mitre"), d.String()
	a.Fields = decodeFields(d)
	if m := d.Array("lineage", maxLineage); m > 0 {
		a.Lineage = make([]Process, m)
		for i := range a.Lineage {
			a.Lineage[i].decode(d)
		}
	}
	decodeContext(d, &a)
	if n > 20 {
		if m := d.Array("events", maxList); m > 0 {
			a.Events = make([]Event, m)
			for i := range a.Events {
				a.Events[i].decode(d)
			}
		}
		d.Skip(n - 21)
	}
	return a, d.Err()
}

func decodeContext(d *wire.Decoder, a *Alert) {
	n := d.Array("user", maxList)
	if n < 4 {
		d.Fail("user of %d elements, want 4", n)
	}
	a.User = User{UID: d.Uint32(), Name: d.String(), LoginUID: d.Uint32(), LoginName: d.String()}
	d.Skip(n - 4)
	if c := decodeStrings(d, "container"); len(c) >= 3 {
		a.Container = Container{ID: c[0], Name: c[1], Image: c[2]}
	} else {
		d.Fail("container of %d elements, want 3", len(c))
	}
	if k := decodeStrings(d, "k8s"); len(k) >= 2 {
		a.K8s = K8s{Namespace: k[0], Pod: k[1]}
	} else {
		d.Fail("k8s of %d elements, want 2", len(k))
	}
}

func decodeStrings(d *wire.Decoder, what string) []string {
	n := d.Array(what, maxList)
	if n == 0 {
		return nil
	}
	s := make([]string, n)
	for i := range s {
		s[i] = d.String()
	}
	return s
}

func decodeFields(d *wire.Decoder) []Field {
	n := d.Array("fields", maxList)
	if n == 0 {
		return nil
	}
	f := make([]Field, n)
	for i := range f {
		m := d.Array("field", maxList)
		if m < 2 {
			d.Fail("field of %d elements, want 2", m)
			return nil
		}
		f[i].Name = d.String()
		switch d.Peek() {
		case wire.Nil:
			d.IsNil()
		case wire.Boolean:
			f[i].Value = d.Bool()
		case wire.Integer:
			f[i].Value = d.Int()
		case wire.Text:
			f[i].Value = d.String()
		case wire.List:
			if l := decodeStrings(d, "field"); l != nil {
				f[i].Value = l
			} else {
				f[i].Value = []string{}
			}
		default:
			d.Fail("field %s has a value of an unknown type", f[i].Name)
		}
		d.Skip(m - 2)
	}
	return f
}

func (p *Process) decode(d *wire.Decoder) {
	n := d.Array("process", maxList)
	if n < 9 {
		d.Fail("process of %d elements, want 9", n)
		return
	}
	*p = Process{
		ExecID: d.String(), PID: d.Uint32(), Name: d.String(), Exe: d.String(), Cmdline: d.String(),
		Cwd: d.String(), UID: d.Uint32(), User: d.String(), Start: d.Int(),
	}
	d.Skip(n - 9)
}

func (x *Event) encode(e *wire.Encoder) {
	e.Array(11)
	e.String(x.Step)
	e.Int(x.Time)
	e.String(x.Node)
	e.String(x.BootID)
	e.Uint(x.Seq)
	e.String(x.Kind)
	e.String(x.ExecID)
	e.Uint(uint64(x.PID))
	e.String(x.Process)
	e.String(x.Cmdline)
	e.String(x.Detail)
}

func (x *Event) decode(d *wire.Decoder) {
	n := d.Array("event", maxList)
	if n < 11 {
		d.Fail("event of %d elements, want 11", n)
		return
	}
	*x = Event{
		Step: d.String(), Time: d.Int(), Node: d.String(), BootID: d.String(), Seq: d.Uint(), Kind: d.String(), ExecID: d.String(),
		PID: d.Uint32(), Process: d.String(), Cmdline: d.String(), Detail: d.String(),
	}
	d.Skip(n - 11)
}
