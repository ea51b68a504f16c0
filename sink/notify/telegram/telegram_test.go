package telegram

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func settings(url string) *Config {
	return &Config{API: url, Token: daemon.NewSecret(notifytest.Secret), ChatID: "-100", ThreadID: 3}
}

func TestTelegram(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings { return settings(url) },
		Answer:   `{"ok":true,"result":{"message_id":1}}`, Limit: 16_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			if r.Path != "/bot"+notifytest.Secret+"/sendMessage" || v["chat_id"] != "-100" || v["message_thread_id"] != 3.0 || v["parse_mode"] != nil || !strings.HasPrefix(v["text"].(string), "[critical] Read") {
				t.Errorf("%s %v", r.Path, v)
			}
		},
	})
}

func TestRetryAfterInBody(t *testing.T) {
	srv := notifytest.NewRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 31","parameters":{"retry_after":31}}`)
	})
	n := notifytest.Open(t, settings(srv.URL), notifytest.Env(t.Output()))
	err := n.Notify(t.Context(), []notify.Message{notifytest.Message()})
	if a, ok := errors.AsType[*notify.RetryAfter](err); !ok || a.After != 31*time.Second {
		t.Errorf("got %v", err)
	}
}
