package dingtalk

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestDingTalk(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: daemon.NewSecret(url + "/robot/send?access_token=" + notifytest.Secret), SigningKey: daemon.NewSecret("SEC1"), Keyword: "alarm"}
		},
		Answer: `{"errcode":0,"errmsg":"ok"}`, Limit: 20_000 * 2, // in JSON
		Check: func(t *testing.T, r notifytest.Request) {
			q, err := url.ParseQuery(r.Query)
			if err != nil || r.Path != "/robot/send" || q.Get("access_token") != notifytest.Secret {
				t.Errorf("%s %v %v", r.Path, q, err)
			}
			ms, err := strconv.ParseInt(q.Get("timestamp"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := url.Parse(signed(url.URL{}, "SEC1", time.UnixMilli(ms))); again.Query().Get("sign") != q.Get("sign") {
				t.Errorf("signature %s", q.Get("sign"))
			}
			text, _ := r.JSON(t)["text"].(map[string]any)
			if content, _ := text["content"].(string); r.JSON(t)["msgtype"] != "text" || !strings.HasPrefix(content, "alarm [critical] Read sensitive file\n") {
				t.Errorf("%v", text)
			}
		},
	})
}

// TestSigned compares with a signature that was made by openssl.
func TestSigned(t *testing.T) {
	u, err := url.Parse(signed(url.URL{Scheme: "https", Host: "x", RawQuery: "access_token=a"}, "SECabc", time.UnixMilli(1_700_000_000_000)))
	if err != nil || u.Query().Get("timestamp") != "1700000000000" || u.Query().Get("access_token") != "a" || u.Query().Get("sign") != "jcUpW0QmtKduN03n4JqQ0PBosVjqnM8gU7fIIvsDmCM=" {
		t.Errorf("%v %v", u.Query(), err)
	}
}

func TestAnswers(t *testing.T) {
	if err := check([]byte(`{"errcode":430102,"errmsg":"x"}`), nil); !bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if err := check([]byte(`{"errcode":310000,"errmsg":"sign not match"}`), nil); err == nil || bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if _, ok := errors.AsType[*notify.RetryAfter](check([]byte(`{"errcode":130101,"errmsg":"send too fast"}`), nil)); !ok {
		t.Error("too fast is not tried later")
	}
}
