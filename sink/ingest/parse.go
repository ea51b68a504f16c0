// Package ingest takes alerts that Falco sends over HTTP into the stream ALERTS, so that a fleet can migrate node by node.
package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Limits of what is believed of an alert.
const (
	maxFields = 1024
	maxTags   = 256
)

// object is what Falco (0.44) posts, as far as it is read.
type object struct {
	Output   string         `json:"output"`
	Priority string         `json:"priority"`
	Rule     string         `json:"rule"`
	Time     string         `json:"time"`
	Source   string         `json:"source"`
	Hostname string         `json:"hostname"`
	Tags     []string       `json:"tags"`
	Fields   map[string]any `json:"output_fields"`
}

var (
	prefix    = regexp.MustCompile(`^\d\d[-0-9T:.+Z]*: [A-Z][a-z]+ `)
	technique = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
)

// Parse reads one alert of Falco. The same alert has the same id each time.
func Parse(data []byte) (alertv1.Alert, error) {
	var o object
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		return alertv1.Alert{}, fmt.Errorf("not the JSON object of an alert: %w", err)
	}
	p, err := alertv1.ParsePriority(o.Priority)
	if err != nil {
		return alertv1.Alert{}, fmt.Errorf("priority: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, o.Time)
	switch {
	case err != nil:
		return alertv1.Alert{}, errors.New("time: want RFC 3339, as 2026-01-02T15:04:05.123456789Z")
	case at.Year() < 1970 || at.Year() > 2200:
		return alertv1.Alert{}, fmt.Errorf("time: the year %d", at.Year())
	case o.Rule == "":
		return alertv1.Alert{}, errors.New("rule: is empty")
	case len(o.Fields) > maxFields || len(o.Tags) > maxTags:
		return alertv1.Alert{}, fmt.Errorf("%d output_fields and %d tags, want at most %d and %d", len(o.Fields), len(o.Tags), maxFields, maxTags)
	}
	a := alertv1.Alert{
		Time: at.UnixNano(), RuleID: "falco." + o.Rule, Rule: o.Rule, Priority: p, Source: o.Source, Node: o.Hostname, Output: prefix.ReplaceAllString(o.Output, ""),
		Tags: o.Tags, MITRE: []string{}, Fields: fields(o.Fields),
	}
	if a.Source == "" {
		a.Source = "syscall"
	}
	if a.Node == "" {
		a.Node = "unknown"
	}
	if a.Tags == nil {
		a.Tags = []string{}
	}
	for _, t := range o.Tags {
		if technique.MatchString(t) {
			a.MITRE = append(a.MITRE, t)
		}
	}
	surroundings(&a, o.Fields)
	a.ID = alertv1.KeyID(a.RuleID, a.Node+"\x00"+a.Source+"\x00"+o.Output, o.Time)
	return a, nil
}

// fields are the output_fields by name; what is no text, whole number or bool becomes text.
func fields(in map[string]any) []alertv1.Field {
	out := make([]alertv1.Field, 0, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		f := alertv1.Field{Name: name}
		switch v := in[name].(type) {
		case nil, string, bool:
			f.Value = v
		case json.Number:
			if n, err := v.Int64(); err == nil {
				f.Value = n
			} else {
				f.Value = v.String()
			}
		default:
			b, err := json.Marshal(v)
			if err != nil {
				continue // it was just decoded
			}
			f.Value = string(b)
		}
		out = append(out, f)
	}
	return out
}

// surroundings fills in what alerts of gyre have beside fields.
func surroundings(a *alertv1.Alert, in map[string]any) {
	text := func(name string) string {
		s, _ := in[name].(string)
		return s
	}
	number := func(name string) int64 {
		n, _ := in[name].(json.Number)
		v, _ := n.Int64()
		return v
	}
	a.Event = text("evt.type")
	a.K8s = alertv1.K8s{Namespace: text("k8s.ns.name"), Pod: text("k8s.pod.name")}
	if id := text("container.id"); id != "host" {
		image := text("container.image.repository")
		if tag := text("container.image.tag"); tag != "" {
			image += ":" + tag
		}
		a.Container = alertv1.Container{ID: id, Name: text("container.name"), Image: strings.TrimPrefix(image, ":")}
	}
	a.User = alertv1.User{Name: text("user.name"), UID: uint32(number("user.uid")), LoginUID: 1<<32 - 1}
	if name := text("proc.name"); name != "" {
		a.Lineage = []alertv1.Process{{Name: name, PID: uint32(number("proc.pid")), Exe: text("proc.exepath"), Cmdline: text("proc.cmdline"), Cwd: text("proc.cwd"), User: text("user.name")}}
	}
}
