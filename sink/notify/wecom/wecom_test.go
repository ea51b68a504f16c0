package wecom

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestWeCom(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: daemon.NewSecret(url + "/cgi-bin/webhook/send?key=" + notifytest.Secret)}
		},
		Answer: `{"errcode":0,"errmsg":"ok"}`, Limit: 6000, // in JSON
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			if text := v["text"].(map[string]any)["content"].(string); v["msgtype"] != "text" || !strings.HasPrefix(text, "[critical] Read sensitive file\n") || len(text) > maxText || r.Query != "key="+notifytest.Secret {
				t.Errorf("got %v", v)
			}
		},
	})
}

func TestAnswers(t *testing.T) {
	if err := check([]byte(`{"errcode":45002,"errmsg":"content size out of limit"}`), nil); !bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if err := check([]byte(`{"errcode":93000,"errmsg":"invalid webhook url"}`), nil); err == nil || bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if after, ok := errors.AsType[*notify.RetryAfter](check([]byte(`{"errcode":45009,"errmsg":"api freq out of limit"}`), nil)); !ok || after.After != time.Minute {
		t.Errorf("got %v", after)
	}
}
