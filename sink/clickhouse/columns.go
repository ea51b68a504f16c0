package clickhouse

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// columns are alerts in the form in which they are sent; they are used again and again. The order of input is that of [alertColumns].
type columns struct {
	input proto.Input

	id                                                                                                   proto.ColUUID
	time                                                                                                 proto.ColDateTime64
	priority                                                                                             proto.ColEnum
	output, exe, cmdline, cwd, execID, containerID, pod                                                  proto.ColStr
	pid, uid, loginUID                                                                                   proto.ColUInt32
	seq                                                                                                  proto.ColUInt64
	ruleID, rule, source, node, ruleset, process, user, loginUser, containerName, image, ns, event, boot words
	tags, mitre                                                                                          *proto.ColArr[string]
	fields                                                                                               *proto.ColMap[string, string]
	lineage                                                                                              lineage

	pairs []proto.KV[string, string] // of one alert
}

type words = proto.ColLowCardinality[string]

func newColumns() *columns {
	c := &columns{tags: newWords().Array(), mitre: newWords().Array(), fields: proto.NewMap(newWords(), new(proto.ColStr))}
	for _, w := range []*words{&c.ruleID, &c.rule, &c.source, &c.node, &c.ruleset, &c.process, &c.user, &c.loginUser, &c.containerName, &c.image, &c.ns, &c.event, &c.boot} {
		*w = *newWords()
	}
	c.time.WithPrecision(proto.PrecisionNano).WithLocation(time.UTC)
	c.input = proto.Input{
		{Name: "id", Data: &c.id},
		{Name: "time", Data: &c.time},
		{Name: "rule_id", Data: &c.ruleID},
		{Name: "rule", Data: &c.rule},
		{Name: "priority", Data: &c.priority},
		{Name: "source", Data: &c.source},
		{Name: "node", Data: &c.node},
		{Name: "output", Data: &c.output},
		{Name: "tags", Data: c.tags},
		{Name: "mitre", Data: c.mitre},
		{Name: "ruleset", Data: &c.ruleset},
		{Name: "pid", Data: &c.pid},
		{Name: "process", Data: &c.process},
		{Name: "exe", Data: &c.exe},
		{Name: "cmdline", Data: &c.cmdline},
		{Name: "cwd", Data: &c.cwd},
		{Name: "exec_id", Data: &c.execID},
		{Name: "uid", Data: &c.uid},
		{Name: "user", Data: &c.user},
		{Name: "login_uid", Data: &c.loginUID},
		{Name: "login_user", Data: &c.loginUser},
		{Name: "container_id", Data: &c.containerID},
		{Name: "container_name", Data: &c.containerName},
		{Name: "image", Data: &c.image},
		{Name: "k8s_ns", Data: &c.ns},
		{Name: "k8s_pod", Data: &c.pod},
		{Name: "event_type", Data: &c.event},
		{Name: "event_seq", Data: &c.seq},
		{Name: "boot_id", Data: &c.boot},
		{Name: "fields", Data: c.fields},
		{Name: "lineage", Data: &c.lineage},
	}
	return c
}

func newWords() *words { return new(proto.ColStr).LowCardinality() }

// add appends an alert. A field that is named twice keeps its last value, and one without a value is left out.
func (c *columns) add(a *alertv1.Alert) {
	p := a.Process()
	c.id.Append(uuid.UUID(a.ID))
	c.time.Data = append(c.time.Data, proto.DateTime64(a.Time))
	c.ruleID.Append(a.RuleID)
	c.rule.Append(a.Rule)
	c.priority.Append(a.Priority.String())
	c.source.Append(a.Source)
	c.node.Append(a.Node)
	c.output.Append(a.Output)
	c.tags.Append(a.Tags)
	c.mitre.Append(a.MITRE)
	c.ruleset.Append(a.Ruleset)
	c.pid.Append(p.PID)
	c.process.Append(p.Name)
	c.exe.Append(p.Exe)
	c.cmdline.Append(p.Cmdline)
	c.cwd.Append(p.Cwd)
	c.execID.Append(p.ExecID)
	c.uid.Append(a.User.UID)
	c.user.Append(a.User.Name)
	c.loginUID.Append(a.User.LoginUID)
	c.loginUser.Append(a.User.LoginName)
	c.containerID.Append(a.Container.ID)
	c.containerName.Append(a.Container.Name)
	c.image.Append(a.Container.Image)
	c.ns.Append(a.K8s.Namespace)
	c.pod.Append(a.K8s.Pod)
	c.event.Append(a.Event)
	c.seq.Append(a.Seq)
	c.boot.Append(a.BootID)
	c.pairs = c.pairs[:0]
	for i, f := range a.Fields {
		if f.Value != nil && !named(a.Fields[i+1:], f.Name) {
			c.pairs = append(c.pairs, proto.KV[string, string]{Key: f.Name, Value: FieldText(f.Value)})
		}
	}
	c.fields.AppendKV(c.pairs)
	c.lineage.add(a.Lineage)
}

// named tells whether one of the fields has a name and a value.
func named(fields []alertv1.Field, name string) bool {
	for _, f := range fields {
		if f.Name == name && f.Value != nil {
			return true
		}
	}
	return false
}

// reset empties the columns, and drops what they refer to.
func (c *columns) reset() {
	for _, w := range []*words{&c.ruleID, &c.rule, &c.source, &c.node, &c.ruleset, &c.process, &c.user, &c.loginUser, &c.containerName, &c.image, &c.ns, &c.event, &c.boot} {
		clear(w.Values)
	}
	clear(c.pairs[:cap(c.pairs)])
	c.input.Reset()
}

// lineage is the column of processes: an array of tuples.
type lineage struct {
	ends                              proto.ColUInt64
	execID, name, exe, cmdline, users proto.ColStr
	pid, uid                          proto.ColUInt32
	start                             proto.ColInt64 // nanoseconds, as the server keeps them
}

func (l *lineage) add(list []alertv1.Process) {
	for i := range list {
		p := &list[i]
		l.execID.Append(p.ExecID)
		l.pid.Append(p.PID)
		l.name.Append(p.Name)
		l.exe.Append(p.Exe)
		l.cmdline.Append(p.Cmdline)
		l.uid.Append(p.UID)
		l.users.Append(p.User)
		l.start.Append(p.Start)
	}
	l.ends.Append(uint64(l.pid.Rows()))
}

var _ proto.ColInput = (*lineage)(nil)

// Type is the server's type.
func (l *lineage) Type() proto.ColumnType {
	return "Array(Tuple(exec_id String, pid UInt32, name String, exe String, cmdline String, uid UInt32, user String, start DateTime64(9, 'UTC')))"
}

// Rows is the number of alerts.
func (l *lineage) Rows() int { return l.ends.Rows() }

func (l *lineage) parts() []proto.ColInput {
	return []proto.ColInput{&l.ends, &l.execID, &l.pid, &l.name, &l.exe, &l.cmdline, &l.uid, &l.users, &l.start}
}

// EncodeColumn writes the column.
func (l *lineage) EncodeColumn(b *proto.Buffer) {
	for _, p := range l.parts() {
		p.EncodeColumn(b)
	}
}

// WriteColumn writes the column.
func (l *lineage) WriteColumn(w *proto.Writer) {
	for _, p := range l.parts() {
		p.WriteColumn(w)
	}
}

// Reset empties the column.
func (l *lineage) Reset() {
	l.ends.Reset()
	l.execID.Reset()
	l.pid.Reset()
	l.name.Reset()
	l.exe.Reset()
	l.cmdline.Reset()
	l.uid.Reset()
	l.users.Reset()
	l.start.Reset()
}
