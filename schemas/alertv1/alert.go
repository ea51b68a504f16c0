// Package alertv1 is the alert as evaluators publish it on the ALERTS stream and
// sinks store and deliver it.
//
// On the wire an alert is one msgpack array (never a map), see [Alert.Marshal].
// The format only grows: elements are added at the end, readers skip what they do
// not know, and a reader that meets a newer [Version] returns [ErrVersion].
package alertv1

import (
	"bytes"
	"encoding/json"
	"time"
)

// Version is the major version of the wire form.
const Version = 1

// Alert is one match of one rule.
type Alert struct {
	// ID is deterministic, see [EventID].
	ID ID `json:"id"`
	// Time of the event, in nanoseconds since the Unix epoch.
	Time int64 `json:"-"`
	// RuleID is the rule's stable id; Rule its name as people read it.
	RuleID   string   `json:"rule_id"`
	Rule     string   `json:"rule"`
	Priority Priority `json:"priority"`
	// Source of the event: "syscall" for events of the kernel, "internal" for alerts of the pipeline about itself.
	Source string `json:"source"`
	Node   string `json:"node"`
	// BootID and Seq name the event on its node.
	BootID string `json:"boot_id"`
	Seq    uint64 `json:"event_seq"`
	// Event is the event type, such as "openat".
	Event string `json:"event_type"`
	// Output is the rule's output template filled in, without time and priority.
	Output string   `json:"output"`
	Tags   []string `json:"tags"`
	// MITRE holds ATT&CK technique ids, such as "T1003.008".
	MITRE []string `json:"mitre"`
	// Ruleset is the digest of the rule set that was in force.
	Ruleset string `json:"ruleset"`
	// Fields are the values of the fields that the output names or that the rule attaches, in the rule's order.
	Fields []Field `json:"-"`
	// Lineage starts with the process that acted, then its parent, and so on up.
	Lineage   []Process `json:"lineage"`
	User      User      `json:"user"`
	Container Container `json:"container"`
	K8s       K8s       `json:"k8s"`
	// Events are the events that a correlation rule put together, in the order of time; empty for an alert about one event.
	Events []Event `json:"events,omitempty"`
}

// Event is one of the events behind an alert. Time is in nanoseconds since the Unix epoch.
type Event struct {
	// Step names the condition of the rule that the event satisfies.
	Step   string `json:"step"`
	Time   int64  `json:"time"`
	Node   string `json:"node"`
	BootID string `json:"boot_id"`
	Seq    uint64 `json:"event_seq"`
	Kind   string `json:"event_type"`
	// ExecID, PID, Process and Cmdline are those of the process that acted.
	ExecID  string `json:"exec_id"`
	PID     uint32 `json:"pid"`
	Process string `json:"process"`
	Cmdline string `json:"cmdline"`
	// Detail holds the fields that the rule reads of the event, as name=value.
	Detail string `json:"detail"`
}

// Field is a named value. Value is nil (the field was absent), string, int64, bool or []string.
type Field struct {
	Name  string
	Value any
}

// Process is one process of the lineage. Start is in nanoseconds since the Unix epoch.
type Process struct {
	ExecID  string `json:"exec_id"`
	PID     uint32 `json:"pid"`
	Name    string `json:"name"`
	Exe     string `json:"exe"`
	Cmdline string `json:"cmdline"`
	Cwd     string `json:"cwd"`
	UID     uint32 `json:"uid"`
	User    string `json:"user"`
	Start   int64  `json:"start"`
}

// User is who the process acted as; LoginUID is 4294967295 when no login session is known.
type User struct {
	UID       uint32 `json:"uid"`
	Name      string `json:"name"`
	LoginUID  uint32 `json:"login_uid"`
	LoginName string `json:"login_name"`
}

// Container is empty for a process of the host.
type Container struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Image string `json:"image"`
}

// K8s is empty outside of Kubernetes.
type K8s struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
}

// When is Time as a UTC time.
func (a *Alert) When() time.Time { return time.Unix(0, a.Time).UTC() }

// Process returns the process that acted, the zero Process if none is known.
func (a *Alert) Process() Process {
	if len(a.Lineage) == 0 {
		return Process{}
	}
	return a.Lineage[0]
}

// MarshalJSON writes the alert as an object with "time" in RFC 3339 with
// nanoseconds and "fields" as an object in the order of Fields.
func (a Alert) MarshalJSON() ([]byte, error) {
	type plain Alert
	head, err := json.Marshal(struct {
		Time string `json:"time"`
		plain
		Fields orderedFields `json:"fields"`
	}{a.When().Format(time.RFC3339Nano), plain(a), orderedFields(a.Fields)})
	return head, err
}

// orderedFields is an object whose keys keep their order.
type orderedFields []Field

// MarshalJSON writes the object.
func (f orderedFields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, kv := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(kv.Name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(kv.Value)
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
