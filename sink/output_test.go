package sink

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify/catalog"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestDress(t *testing.T) {
	o := NewOutput("a", "stdout")
	o.Severities, o.AddTags = map[string]string{"critical": "P1"}, []string{"env:prod"}
	o.AddFields = map[string]string{"where": "{{.Namespace}}/{{.Pod}}", "what": `{{field "proc.name" . | upper}}`}
	dress, err := o.dress()
	if err != nil {
		t.Fatal(err)
	}
	in := notifytest.Message().Alert
	m := dress(in)
	if m.Severity != "P1" || len(in.Tags) != 2 || len(in.Fields) != 3 {
		t.Errorf("severity %s; the alert itself has %v %v", m.Severity, in.Tags, in.Fields)
	}
	if d := cmp.Diff([]alertv1.Field{{Name: "what", Value: "CAT"}, {Name: "where", Value: "prod/web-0"}}, m.Alert.Fields[3:]); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if m.Alert.Tags[2] != "env:prod" {
		t.Errorf("tags %v", m.Alert.Tags)
	}
}

func TestOutputValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Output)
		want string
	}{
		{"name", func(o *Output) { o.Name = "A b" }, "name is"},
		{"reserved", func(o *Output) { o.Name = "clickhouse" }, "not clickhouse"},
		{"timeout", func(o *Output) { o.Timeout = time.Hour }, "timeout is 1h"},
		{"rate", func(o *Output) { o.Rate = -1 }, "rate is"},
		{"severity", func(o *Output) { o.Severities = map[string]string{"loud": "x"} }, "unknown priority"},
		{"field", func(o *Output) { o.AddFields = map[string]string{"x": "{{.Nope}}"} }, "add_fields.x"},
		{"text", func(o *Output) { o.Text = "{{" }, "text: parse template"},
		{"matcher", func(o *Output) { o.Matchers = []string{"x"} }, "matcher"},
		{"pending", func(o *Output) { o.BatchMax, o.Pending = 100, 10 }, "pending is 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := NewOutput("a", "stdout")
			tt.set(&o)
			if err := o.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestKeysAreUnique: no type has a setting with the name of one that all outputs have.
func TestKeysAreUnique(t *testing.T) {
	var keys func(reflect.Type) []string
	keys = func(typ reflect.Type) (out []string) {
		for field := range typ.Fields() {
			name, opts, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if strings.Contains(opts, "inline") {
				out = append(out, keys(field.Type)...)
			} else if name != "" {
				out = append(out, name)
			}
		}
		return out
	}
	common := map[string]bool{}
	for _, k := range keys(reflect.TypeFor[Output]()) {
		if common[k] {
			t.Errorf("%s is there twice", k)
		}
		common[k] = true
	}
	for _, kind := range catalog.Kinds() {
		for _, k := range keys(reflect.TypeOf(catalog.New(kind)).Elem()) {
			if common[k] {
				t.Errorf("%s: %s is a setting of all outputs", kind, k)
			}
		}
	}
}
