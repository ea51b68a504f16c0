package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/sink"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
	"github.com/gyre-sec/gyre/sink/route"
)

// line is a command line against one server.
type line struct {
	t   *testing.T
	url string
}

// run returns what a command printed to either stream, and its exit code.
func (l line) run(args ...string) (string, int) {
	l.t.Helper()
	var out bytes.Buffer
	code := Main(append(args, "--nats", l.url), &out, &out)
	return out.String(), code
}

func (l line) want(text string, args ...string) string {
	l.t.Helper()
	out, code := l.run(args...)
	if code != 0 || !strings.Contains(out, text) {
		l.t.Errorf("%v ends with %d and says\n%s\nwant %q", args, code, out, text)
	}
	return out
}

func (l line) fails(text string, args ...string) {
	l.t.Helper()
	if out, code := l.run(args...); code == 0 || !strings.Contains(out, text) {
		l.t.Errorf("%v ends with %d and says\n%s\nwant a failure with %q", args, code, out, text)
	}
}

func start(t *testing.T) (line, *bustest.Server) {
	t.Helper()
	srv := bustest.Start(t)
	return line{t, "nats://" + srv.Token() + "@" + strings.TrimPrefix(srv.URL(), "nats://")}, srv
}

func TestOutputs(t *testing.T) {
	l, srv := start(t)
	b := srv.Connect()
	var refuse atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuse.Load() {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer hook.Close()
	l.want("no outputs", "outputs", "status")
	l.fails("there are none", "outputs", "pause", "chat")
	cfg := sink.DefaultConfig()
	o := sink.NewOutput("chat", "webhook")
	o.Settings.(*webhook.Config).URL = hook.URL
	cfg.Outputs = []sink.Output{o}
	s, err := sink.New(cfg, b, nil, t.Output(), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; s.Ready() != nil && n < 2000; n++ {
		<-tick.C
	}
	l.want("chat has taken a test alert", "outputs", "test", "chat")
	refuse.Store(true)
	l.fails("403 Forbidden", "outputs", "test", "chat")
	l.want("ok", "outputs", "status")
	l.want("is paused for 1h", "outputs", "pause", "chat", "--for", "1h")
	l.want("paused for 59m", "outputs", "status")
	l.want("goes on", "outputs", "resume", "chat")
	l.want("begins", "outputs", "replay", "chat", "--since", "1h")
	l.fails("--since is 0s", "outputs", "replay", "chat")
	l.fails("the outputs are chat", "outputs", "test", "mail")
	var list []struct {
		Name, Type, State string
	}
	if err := json.Unmarshal([]byte(l.want("", "outputs", "status", "--json")), &list); err != nil || len(list) != 1 || list[0].Type != "webhook" {
		t.Errorf("%+v, %v", list, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.want("unattended", "outputs", "status")
	l.fails("no sink runs the output", "outputs", "test", "chat")
}

func TestSilence(t *testing.T) {
	l, srv := start(t)
	srv.Connect()
	l.want("no silences", "silence", "list")
	l.fails("would silence everything", "silence", "add")
	l.fails("no operator", "silence", "add", "--match", "x")
	out := l.want("silences rule Read *, node web-1, proc.name=cat until", "silence", "add", "--rule", "Read *", "--node", "web-1", "--match", "proc.name=cat", "--for", "2h", "--comment", "why\x1b[2J", "--author", "me")
	id := strings.Fields(out)[0]
	if shown := l.want(id, "silence", "list"); strings.Contains(shown, "\x1b") {
		t.Errorf("control characters: %q", shown)
	}
	var list []route.Silence
	if err := json.Unmarshal([]byte(l.want("", "silence", "list", "--json")), &list); err != nil || len(list) != 1 || list[0].Author != "me" || list[0].Ends.Sub(list[0].Starts) != 2*time.Hour {
		t.Errorf("%+v, %v", list, err)
	}
	l.want("is over", "silence", "expire", id)
	l.want("no silences", "silence", "list")
	l.want("expired", "silence", "list", "--all")
	later := strings.Fields(l.want("until", "silence", "add", "--node", "x", "--in", "1h"))[0]
	l.want("pending", "silence", "list")
	l.want("is over", "silence", "expire", later)
	l.fails("there is no silence", "silence", "expire", later)
}
