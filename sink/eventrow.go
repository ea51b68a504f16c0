package sink

import (
	"math"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// eventRows makes rows of events. It is not safe for concurrent use.
type eventRows struct {
	decoder *eventv1.Decoder
	reader  *eventv1.Reader
	view    *field.View
	// fields are what a row's map holds, by kind; the last ones are of kinds that this release does not know.
	fields [eventv1.KindCount + 1][]*field.Field

	path, proto, localIP, remoteIP, localPort, remotePort, argPath, newPath, res *field.Field
}

// restPrefix is that of arguments, restMore are other fields that a row's map holds.
const restPrefix = "evt.arg."

func newEventRows() *eventRows {
	r := &eventRows{decoder: eventv1.NewDecoder(), reader: eventv1.NewReader(), view: field.NewView()}
	for _, f := range field.All() {
		more := f.Name == "fd.type" || f.Name == "fd.rip.name" || f.Name == "fd.is_server" || f.Name == "evt.is_io_uring"
		if !more && (!strings.HasPrefix(f.Name, restPrefix) || f.Name == restPrefix+"res") {
			continue
		}
		for k := range r.fields {
			if f.Has(eventv1.Kind(k)) {
				r.fields[k] = append(r.fields[k], f)
			}
		}
	}
	for name, at := range map[string]**field.Field{
		"fd.name": &r.path, "fd.l4proto": &r.proto, "fd.lip": &r.localIP, "fd.rip": &r.remoteIP, "fd.lport": &r.localPort, "fd.rport": &r.remotePort,
		"evt.arg.path": &r.argPath, "evt.arg.newpath": &r.newPath, "evt.res": &r.res,
	} {
		*at, _ = field.Lookup(name)
	}
	return r
}

// rows are the events of an encoded batch, and the batch, which keeps data. Errors are permanent: these bytes never decode.
func (r *eventRows) rows(data []byte) ([]clickhouse.Event, clickhouse.EventBatch, error) {
	var b eventv1.Batch // the rows share its strings
	if err := r.decoder.Decode(data, &b); err != nil {
		return nil, clickhouse.EventBatch{}, err
	}
	out := make([]clickhouse.Event, 0, b.Count)
	r.view.Batch(&b)
	r.reader.Reset(&b)
	for e := (eventv1.Event{}); r.reader.Next(&e); {
		r.view.Event(&e)
		out = append(out, r.row(&b, &e))
	}
	whole := clickhouse.EventBatch{Node: b.Node, BootID: b.BootID, Source: b.Source, Events: uint32(len(out)), Data: data}
	if len(out) > 0 {
		first := &out[0]
		whole.Time, whole.FirstSeq, whole.LastSeq = first.Time, first.Seq, out[len(out)-1].Seq
	}
	return out, whole, r.reader.Err()
}

func (r *eventRows) row(b *eventv1.Batch, e *eventv1.Event) clickhouse.Event {
	x := clickhouse.Event{
		Time: when(e.Time), Node: b.Node, BootID: b.BootID, Seq: e.Seq, Type: e.Kind.String(), Source: b.Source, TID: e.TID, Result: e.Ret, UID: eventv1.NoUID,
		Path: r.text(r.path), Proto: r.text(r.proto), LocalIP: r.text(r.localIP), RemoteIP: r.text(r.remoteIP), LocalPort: r.port(r.localPort), RemotePort: r.port(r.remotePort),
	}
	for _, f := range []*field.Field{r.argPath, r.newPath} {
		if x.Path == "" {
			x.Path = r.text(f)
		}
	}
	if e.Failed() {
		x.Errno = r.text(r.res)
	}
	x.Fields = r.rest(e.Kind)
	p := b.Proc(e.Proc)
	if p == nil {
		return x
	}
	x.PID, x.PPID, x.UID = p.PID, p.PPID, p.UID
	x.Process, x.Exe, x.Cmdline, x.ExecID = b.Text(p.Comm), b.Text(p.Exe), b.Cmdline(e.Proc), b.ExecID(p)
	if q := b.Proc(p.Parent); q != nil {
		x.Parent, x.ParentExecID = b.Text(q.Comm), b.ExecID(q)
	}
	if u := b.User(p.User); u != nil {
		x.User = b.Text(u.Name)
	}
	if c := b.Container(p.Container); c != nil {
		x.ContainerID, x.ContainerName, x.Image = b.Text(c.ID), b.Text(c.Name), b.Text(c.Image)
		x.K8sNamespace, x.K8sPod = b.Text(c.PodNamespace), b.Text(c.PodName)
	}
	return x
}

// when is a time that the table can hold: one before 1970 becomes that, and one at the end of the range the last hour of it.
func when(t int64) time.Time {
	return time.Unix(0, min(max(t, 0), math.MaxInt64-int64(24*time.Hour))).UTC()
}

// rest are the fields without a column of their own that the event has, without those that are empty or false.
func (r *eventRows) rest(k eventv1.Kind) map[string]string {
	list := r.fields[min(int(k), len(r.fields)-1)]
	out := make(map[string]string, len(list))
	for _, f := range list {
		if x := f.Value(r.view); x != nil && x != "" && x != false {
			out[f.Name] = clickhouse.FieldText(x)
		}
	}
	return out
}

func (r *eventRows) text(f *field.Field) string {
	s, _ := f.Str(r.view)
	return s
}

func (r *eventRows) port(f *field.Field) uint16 {
	n, _ := f.Int(r.view)
	return uint16(n)
}
