package catalog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/catalog"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// secrets calls f with every setting of a type that is a secret.
func secrets(v reflect.Value, f func(reflect.StructField, reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch {
		case strings.Contains(field.Tag.Get("yaml"), "inline"):
			secrets(v.Field(i), f)
		case field.IsExported() && field.Type == reflect.TypeFor[daemon.Secret]():
			f(field, v.Field(i))
		}
	}
}

// TestSecretsAreNotPrinted: however settings are printed, their secrets are not.
func TestSecretsAreNotPrinted(t *testing.T) {
	for _, kind := range catalog.Kinds() {
		s := catalog.New(kind)
		n := 0
		secrets(reflect.ValueOf(s).Elem(), func(_ reflect.StructField, v reflect.Value) {
			n++
			v.Set(reflect.ValueOf(daemon.NewSecret(notifytest.Secret)))
		})
		var b bytes.Buffer
		for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&b, form+"\n", reflect.ValueOf(s).Elem().Interface())
		}
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "settings", s)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "settings", s)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
		if err := daemon.Print(&b, map[string]any{"sink": s}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), notifytest.Secret) || strings.Contains(b.String(), fmt.Sprintf("%x", notifytest.Secret)) {
			t.Errorf("%s prints a secret", kind)
		}
		if n > 0 && !strings.Contains(b.String(), "<secret>") {
			t.Errorf("%s does not say that there is a secret", kind)
		}
	}
}

// attack is what somebody who names a file may hope that a service interprets.
const attack = "*b* _i_ [x](http://evil.example) <http://evil.example|x> <b>y</b> <!channel> <@U1> <users/all> @everyone @all `c` ~~s~~ =cmd|'/c calc'!A0 \x1b[2J\x07\r\nBcc: x@evil.example"

// TestEscapes: what was seen is shown by every service for people, and interpreted by none. The list says what each of them would
// interpret; services that show plain text have an empty one.
func TestEscapes(t *testing.T) {
	markdown := []string{"[x](http", "@everyone", "@all", " *b* ", " `c` ", "~~s~~", " <b>"}
	for kind, bad := range map[string][]string{
		"slack": {"<!channel>", "<http", "<@U1>"}, "mattermost": markdown, "rocketchat": markdown, "discord": markdown, "zulip": markdown, "googlechat": {"<users/all>", "<http"}, "lark": {"<b>", "<@U1>"},
		"teams": {"[x](http"}, "matrix": {"<b>y"}, "telegram": {"parse_mode"}, "webex": {`"markdown"`, `"html"`}, "gotify": {"text/markdown"}, "ntfy": {`"markdown":true`}, "wecom": {`"markdown"`}, "signal": {`"styled"`},
		"pushbullet": nil, "pushover": {"html=1"}, "bark": {`"markdown"`}, "ifttt": nil,
		"join": {"=:="}, "notifiarr": markdown, "dingtalk": {`"markdown"`, `"isAtAll":true`}, "twilio": nil,
	} {
		t.Run(kind, func(t *testing.T) {
			srv := notifytest.NewRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"ok":true,"code":200,"errcode":0,"status":1,"result":"success"}`))
			})
			s := catalog.New(kind)
			settle(reflect.ValueOf(s).Elem(), srv.URL)
			m := notifytest.Message()
			a := *m.Alert
			a.Output, a.Rule = attack, "Rule "+attack
			if kind == "zulip" {
				a.Rule = "Rule" // a topic, which is plain text, and not told apart here
			}
			m.Alert = &a
			_ = notifytest.Open(t, s, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{m}) // some want another answer
			reqs := srv.Requests()
			if len(reqs) == 0 {
				t.Fatal("nothing was sent")
			}
			text := shown(reqs[0])
			if !strings.Contains(text, "evil.example") && !strings.Contains(text, "evil\\.example") {
				t.Errorf("the text is not there: %q", text)
			}
			for _, x := range append(bad, "\x1b", "\x07", "\\u001b", "\r") {
				if strings.Contains(text, x) {
					t.Errorf("%q in %q", x, text)
				}
			}
		})
	}
}

// settle gives settings that are required a value.
func settle(v reflect.Value, target string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(opts, "inline"):
			continue
		case !f.IsExported():
		case name == "room":
			v.Field(i).SetString("!x:example.org")
		case name == "url" || name == "homeserver" || name == "api":
			if f.Type.Kind() == reflect.String {
				v.Field(i).SetString(target)
			} else {
				v.Field(i).Set(reflect.ValueOf(daemon.NewSecret(target + "/x")))
			}
		case f.Type == reflect.TypeFor[daemon.Secret]():
			v.Field(i).Set(reflect.ValueOf(daemon.NewSecret(notifytest.Secret)))
		case f.Type.Kind() == reflect.String && v.Field(i).String() == "" && name != "title" && name != "priority":
			v.Field(i).SetString("x")
		case f.Type.Kind() == reflect.Int64 && name == "channel":
			v.Field(i).SetInt(1)
		case f.Type == reflect.TypeFor[[]string]() && v.Field(i).Len() == 0:
			v.Field(i).Set(reflect.ValueOf([]string{"x"}))
		}
	}
}

// shown is a request's body with the escapes of its encoding undone, and the header that says how it is to be read.
func shown(r notifytest.Request) string {
	if q, err := url.QueryUnescape(string(r.Body)); err == nil && strings.Contains(r.Header.Get("Content-Type"), "form") {
		return q
	}
	if q, err := url.QueryUnescape(r.Query); err == nil && len(r.Body) == 0 {
		return q
	}
	var v any
	if json.Unmarshal(r.Body, &v) != nil {
		return string(r.Body)
	}
	if m, ok := v.(map[string]any); ok && m["formatted_body"] != nil {
		return fmt.Sprint(m["formatted_body"]) // of Matrix; its body is plain text
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return b.String()
}

// TestWeight: no output's library gets into the programs that run on every node and on every event.
func TestWeight(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../../collector/cmd/...", "../../../evaluator/cmd/...", "../../../enricher/cmd/...")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for p := range strings.Lines(string(out)) {
		for _, heavy := range []string{"gyre/sink", "franz-go", "minio", "jackc/pgx", "dolthub", "amqp091", "go-redis", "paho", "clickhouse-go", "go-mail", "opentelemetry"} {
			if strings.Contains(p, heavy) {
				t.Errorf("a program of the nodes contains %s", strings.TrimSpace(p))
			}
		}
	}
}
