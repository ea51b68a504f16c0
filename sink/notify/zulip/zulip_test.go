package zulip

import (
	"net/url"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestZulip(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.Email, c.APIKey, c.Channel = url, "bot@example.org", daemon.NewSecret(notifytest.Secret), "soc"
			return c
		},
		Answer: `{"result":"success","id":1}`, Limit: 120_000,
		Check: func(t *testing.T, r notifytest.Request) {
			form, err := url.ParseQuery(string(r.Body))
			if err != nil || r.Path != "/api/v1/messages" || form.Get("to") != "soc" || form.Get("topic") != "Read sensitive file" || !strings.HasPrefix(form.Get("content"), "**[critical] Read sensitive file**") ||
				!strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") {
				t.Errorf("%v %v", form, err)
			}
		},
	})
}
