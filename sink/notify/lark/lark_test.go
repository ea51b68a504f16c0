package lark

import (
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestLark(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: daemon.NewSecret(url + "/hook/" + notifytest.Secret), SigningKey: daemon.NewSecret("key")}
		},
		Answer: `{"code":0,"msg":"success"}`, Limit: 20_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			text := v["content"].(map[string]any)["text"].(string)
			if v["msg_type"] != "text" || !strings.HasPrefix(text, "[critical] Read sensitive file\n") || strings.Contains(text, "<b") || v["sign"] != sign(v["timestamp"].(string), "key") {
				t.Errorf("got %v", v)
			}
		},
	})
}

// TestSign: the value was made with another program.
func TestSign(t *testing.T) {
	if got := sign("1599360473", "demo"); got != "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=" {
		t.Errorf("got %s", got)
	}
}

func TestAnswers(t *testing.T) {
	for answer, want := range map[string]string{`{"code":9499,"msg":"Bad Request"}`: "permanent", `{"code":11232,"msg":"frequency limited"}`: "transient", `{"code":19021,"msg":"sign match fail"}`: "transient", `<html>`: "transient", `{"code":0}`: ""} {
		err := check([]byte(answer), nil)
		got := ""
		if err != nil {
			got = "transient"
		}
		if bus.IsPermanent(err) {
			got = "permanent"
		}
		if got != want {
			t.Errorf("%s: %v, want %q", answer, err, want)
		}
	}
}
