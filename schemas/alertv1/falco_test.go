package alertv1_test

import (
	"testing"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

func TestFalcoJSON(t *testing.T) {
	a := alertv1.Alert{
		Time: 1471465097881781397, Rule: "Terminal shell in container", Priority: alertv1.Informational, Source: "syscall", Node: "n1",
		Output: "a <shell> & \xff (user=root)", Tags: []string{"shell", "container", "shell"},
		Fields: []alertv1.Field{{Name: "user.name", Value: "root"}, {Name: "fd.num", Value: int64(-1)}, {Name: "container.id"}, {Name: "x.list", Value: []string{"a", "b"}}, {Name: "b", Value: true}},
	}
	for _, c := range []struct {
		name string
		o    alertv1.FalcoOptions
		want string
	}{
		{
			"default",
			alertv1.FalcoOptions{},
			`{"hostname":"n1","output":"20:18:17.881781397: Informational a <shell> & ` + "\ufffd" + ` (user=root)","output_fields":{"b":true,"container.id":null,"evt.time":1471465097881781397,"fd.num":-1,"user.name":"root","x.list":"(a,b)"},"priority":"Informational","rule":"Terminal shell in container","source":"syscall","tags":["container","shell"],"time":"2016-08-17T20:18:17.881781397Z"}`,
		},
		{
			"message",
			alertv1.FalcoOptions{ISOTime: true, Message: true, NoTags: true, NoFields: true},
			`{"hostname":"n1","message":"a <shell> & ` + "\ufffd" + ` (user=root)","output":"2016-08-17T20:18:17.881781397+0000: Informational a <shell> & ` + "\ufffd" + ` (user=root)","priority":"Informational","rule":"Terminal shell in container","source":"syscall","time":"2016-08-17T20:18:17.881781397Z"}`,
		},
		{
			"least",
			alertv1.FalcoOptions{ISOTime: true, NoOutput: true, NoTags: true},
			`{"hostname":"n1","output_fields":{"b":true,"container.id":null,"evt.time.iso8601":1471465097881781397,"fd.num":-1,"user.name":"root","x.list":"(a,b)"},"priority":"Informational","rule":"Terminal shell in container","source":"syscall","time":"2016-08-17T20:18:17.881781397Z"}`,
		},
	} {
		got, err := a.FalcoJSON(c.o)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
	if got, err := (alertv1.Alert{}).FalcoJSON(alertv1.FalcoOptions{}); err != nil || string(got) !=
		`{"hostname":"","output":"00:00:00.000000000: Emergency ","output_fields":{"evt.time":0},"priority":"Emergency","rule":"","source":"","tags":[],"time":"1970-01-01T00:00:00.000000000Z"}` {
		t.Errorf("%s, %v", got, err)
	}
}
