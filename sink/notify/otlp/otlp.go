// Package otlp sends alerts as OpenTelemetry logs: OTLP over HTTP, in its JSON form.
package otlp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL           string        `yaml:"url" doc:"logs endpoint, such as http://collector:4318/v1/logs"`
	Authorization daemon.Secret `yaml:"authorization" doc:"value of the Authorization header"`
	web.Config    `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), c.Config.Validate())
}

// Batch sends many at once.
func (*Config) Batch() (int, time.Duration) { return 500, time.Second }

const maxText = 64 << 10 // bytes of a body or attribute

// The JSON form of opentelemetry/proto/logs/v1 (OTLP 1.x): 64-bit numbers are text.
type (
	value struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
		Bool   *bool   `json:"boolValue,omitempty"`
		Array  *array  `json:"arrayValue,omitempty"`
	}
	array struct {
		Values []value `json:"values"`
	}
	keyValue struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	record struct {
		Time       string     `json:"timeUnixNano"`
		Observed   string     `json:"observedTimeUnixNano"`
		Number     int        `json:"severityNumber"`
		Text       string     `json:"severityText"`
		Body       value      `json:"body"`
		Attributes []keyValue `json:"attributes"`
		EventName  string     `json:"eventName"`
	}
	scopeLogs struct {
		Scope   map[string]string `json:"scope"`
		Records []record          `json:"logRecords"`
	}
	resourceLogs struct {
		Resource struct {
			Attributes []keyValue `json:"attributes"`
		} `json:"resource"`
		Scopes []scopeLogs `json:"scopeLogs"`
	}
)

// Open reads the header.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	auth, err := c.Authorization.Resolve()
	if err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	client, err := c.New(auth)
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	if auth != "" {
		header["Authorization"] = auth
	}
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		body, err := json.Marshal(map[string]any{"resourceLogs": encode(batch)})
		return web.Request{URL: c.URL, Body: body, Header: header}, err
	}}, nil
}

// encode makes a resource of each node.
func encode(batch []notify.Message) []*resourceLogs {
	nodes := map[string]*resourceLogs{}
	var list []*resourceLogs
	for i := range batch {
		m := &batch[i]
		r := nodes[m.Alert.Node]
		if r == nil {
			r = &resourceLogs{Scopes: []scopeLogs{{Scope: map[string]string{"name": "gyre"}}}}
			r.Resource.Attributes = []keyValue{text("host.name", m.Alert.Node), text("service.name", "gyre")}
			nodes[m.Alert.Node] = r
			list = append(list, r)
		}
		r.Scopes[0].Records = append(r.Scopes[0].Records, recordOf(m))
	}
	return list
}

func recordOf(m *notify.Message) record {
	a := m.Alert
	at := strconv.FormatInt(a.Time, 10)
	r := record{
		Time: at, Observed: at, Number: severity(a.Priority), Text: m.Severity, Body: text("", a.Output).Value, EventName: "gyre.alert",
		Attributes: []keyValue{text("gyre.alert.id", a.ID.String()), text("gyre.rule.id", a.RuleID), text("gyre.rule.name", a.Rule), text("gyre.source", a.Source)},
	}
	p := a.Process()
	for _, kv := range []struct{ key, v string }{
		{"process.executable.path", p.Exe},
		{"process.command_line", p.Cmdline},
		{"user.name", a.User.Name},
		{"container.id", a.Container.ID},
		{"container.name", a.Container.Name},
		{"container.image.name", a.Container.Image},
		{"k8s.namespace.name", a.K8s.Namespace},
		{"k8s.pod.name", a.K8s.Pod},
	} {
		if kv.v != "" {
			r.Attributes = append(r.Attributes, text(kv.key, kv.v))
		}
	}
	r.Attributes = append(r.Attributes, keyValue{"gyre.tags", list(a.Tags)}, keyValue{"gyre.mitre", list(a.MITRE)})
	for _, f := range a.Fields {
		key := "gyre.field." + f.Name
		switch v := f.Value.(type) {
		case nil:
		case int64:
			n := strconv.FormatInt(v, 10)
			r.Attributes = append(r.Attributes, keyValue{key, value{Int: &n}})
		case bool:
			r.Attributes = append(r.Attributes, keyValue{key, value{Bool: &v}})
		case []string:
			r.Attributes = append(r.Attributes, keyValue{key, list(v)})
		default:
			r.Attributes = append(r.Attributes, text(key, notify.FieldText(v)))
		}
	}
	return r
}

func text(key, v string) keyValue {
	v = notify.CutBytes(notify.Clean(v), maxText)
	return keyValue{key, value{String: &v}}
}

func list(in []string) value {
	a := &array{Values: []value{}}
	for _, s := range in {
		a.Values = append(a.Values, text("", s).Value)
	}
	return value{Array: a}
}

// severity is the number that the log data model gives to syslog's levels.
func severity(p alertv1.Priority) int {
	return [...]int{24, 22, 21, 17, 13, 10, 9, 5}[min(p, alertv1.Debug)]
}

// check finds records that the receiver rejected; it does not say which.
func check(answer []byte, _ []notify.Message) error {
	var v struct {
		Partial struct {
			Rejected json.Number `json:"rejectedLogRecords"`
			Message  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &v) != nil || v.Partial.Rejected == "" || v.Partial.Rejected == "0" {
		return nil
	}
	return bus.Permanent(fmt.Errorf("the receiver rejected %s records: %s", v.Partial.Rejected, notify.Cut(notify.Clean(v.Partial.Message), 200)))
}
