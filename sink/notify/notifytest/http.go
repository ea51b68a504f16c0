// Package notifytest is the suite that every output passes.
package notifytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Secret is what the test plants as token or in the URL; it must come up nowhere.
const Secret = "hush-4711-secret-token" //nolint:gosec // made up

// HTTP describes an output over HTTP.
type HTTP struct {
	// Settings returns settings that send to url, with [Secret] as their secret.
	Settings func(t testing.TB, url string) notify.Settings
	// Answer is the body of a good answer, Status its code if it is not 200.
	Answer string
	Status int
	// Check looks at the request of one message, made by [Message].
	Check func(t *testing.T, r Request)
	// Limit is the size of the largest body that the service takes, in bytes; 0 means that alerts are sent whole.
	Limit int
	// Reads is how many requests come before the one that sends the alert.
	Reads int
	// Key returns what names the alert to the service, so that it can drop a repetition; nil if the service has nothing of the kind.
	Key func(t testing.TB, r Request) string
}

// Message is the message that tests send: with invalid UTF-8, markup and control characters in what was seen.
func Message() notify.Message {
	a := &alertv1.Alert{
		ID: alertv1.EventID("read-shadow", "node-1", "boot", 42), Time: 1_780_000_000_123_456_789, RuleID: "read-shadow", Rule: "Read sensitive file", Priority: alertv1.Critical,
		Source: "syscall", Node: "node-1", BootID: "boot", Seq: 42, Event: "openat", Output: "cat \xff\x1b[2J <b>*read*</b> @everyone `x` /etc/shadow", Tags: []string{"host", "T1003"}, MITRE: []string{"T1003.008"},
		Fields:  []alertv1.Field{{Name: "proc.name", Value: "cat"}, {Name: "proc.pid", Value: int64(7)}, {Name: "fd.ino"}},
		Lineage: []alertv1.Process{{ExecID: "n:b:1:7:1", PID: 7, Name: "cat", Exe: "/bin/cat", Cmdline: "cat /etc/shadow", Cwd: "/", User: "root"}},
		User:    alertv1.User{Name: "root", LoginUID: 1<<32 - 1}, Container: alertv1.Container{ID: "c1", Name: "web", Image: "nginx"}, K8s: alertv1.K8s{Namespace: "prod", Pod: "web-0"},
	}
	return notify.Message{Alert: a, Severity: a.Priority.String()}
}

// Env is the environment of a test; what is logged goes to log.
func Env(log io.Writer) notify.Env {
	return notify.Env{Name: "out", Stdout: io.Discard, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

// Open opens settings and closes them with the test.
func Open(t testing.TB, s notify.Settings, env notify.Env) notify.Notifier {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatalf("validate: %v", err)
	}
	n, err := s.Open(env)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if c, ok := n.(io.Closer); ok {
		t.Cleanup(func() { _ = c.Close() })
	}
	return n
}

// RunHTTP runs the suite.
func RunHTTP(t *testing.T, c HTTP) {
	t.Helper()
	good := func(w http.ResponseWriter, _ *http.Request) {
		if c.Status != 0 {
			w.WriteHeader(c.Status)
		}
		_, _ = io.WriteString(w, c.Answer)
	}
	var logged syncBuffer
	srv := NewRecorder(t, good)
	n := Open(t, c.Settings(t, srv.URL), Env(&logged))
	send := func(ctx context.Context, msgs ...notify.Message) error {
		if len(msgs) == 0 {
			msgs = []notify.Message{Message()}
		}
		return unpartial(n.Notify(ctx, msgs))
	}
	hidden := func(t *testing.T, err error) {
		t.Helper()
		if err != nil && strings.Contains(err.Error(), Secret) || strings.Contains(logged.String(), Secret) {
			t.Errorf("the secret is in an error or the log: %v\n%s", err, logged.String())
		}
	}

	t.Run("success", func(t *testing.T) {
		if err := send(t.Context()); err != nil {
			t.Fatalf("notify: %v", err)
		}
		reqs := srv.Requests()
		if len(reqs) != 1+c.Reads {
			t.Fatalf("%d requests, want %d", len(reqs), 1+c.Reads)
		}
		last := reqs[c.Reads]
		if !utf8.Valid(last.Body) || bytes.ContainsRune(last.Body, 0x1b) {
			t.Errorf("the body has invalid UTF-8 or a control character: %q", last.Body)
		}
		c.Check(t, last)
		hidden(t, nil)
	})
	for _, code := range []int{400, 413, 422} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			srv.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no: "+Secret, code) })
			err := send(t.Context())
			if err == nil || !bus.IsPermanent(err) {
				t.Errorf("%d gives %v, want a permanent error", code, err)
			}
			hidden(t, err)
		})
	}
	for _, code := range []int{302, 401, 403, 404, 408, 429, 500, 503} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			srv.Requests()
			srv.Answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", srv.URL+"/elsewhere")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, "no: "+Secret)
			})
			err := send(t.Context())
			if err == nil || bus.IsPermanent(err) {
				t.Errorf("%d gives %v, want a transient error", code, err)
			}
			hidden(t, err)
			for _, r := range srv.Requests() {
				if r.Path == "/elsewhere" {
					t.Error("a redirect was followed")
				}
			}
		})
	}
	t.Run("retry after", func(t *testing.T) {
		for _, code := range []int{429, 503} {
			srv.Answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(code)
			})
			err := send(t.Context())
			if after, ok := errors.AsType[*notify.RetryAfter](err); !ok || after.After != 7*time.Second {
				t.Errorf("%d with Retry-After: 7 gives %#v", code, err)
			}
		}
	})
	t.Run("connection refused", func(t *testing.T) {
		dead := httptest.NewServer(http.NotFoundHandler())
		url := dead.URL
		dead.Close()
		gone := Open(t, c.Settings(t, url), Env(&logged))
		err := unpartial(gone.Notify(t.Context(), []notify.Message{Message()}))
		if err == nil || bus.IsPermanent(err) {
			t.Errorf("nobody listens: %v, want a transient error", err)
		}
		hidden(t, err)
	})
	t.Run("timeout and cancel", func(t *testing.T) {
		started, release := make(chan struct{}, 8), make(chan struct{})
		defer close(release)
		srv.Answer(func(http.ResponseWriter, *http.Request) { started <- struct{}{}; <-release })
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		err := send(ctx)
		if !errors.Is(err, context.Canceled) || bus.IsPermanent(err) {
			t.Errorf("cancelled: %v", err)
		}
		hidden(t, err)
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err = send(ctx); !errors.Is(err, context.DeadlineExceeded) || bus.IsPermanent(err) {
			t.Errorf("timed out: %v", err)
		}
		hidden(t, err)
	})
	t.Run("oversize", func(t *testing.T) {
		srv.Requests()
		srv.Answer(good)
		m := Message()
		big := *m.Alert
		big.Output = strings.Repeat("x<&*é\"", 200_000)
		big.Rule = strings.Repeat("r", 5000)
		big.Lineage = []alertv1.Process{{Cmdline: strings.Repeat("y", 100_000)}}
		m.Alert = &big
		if err := send(t.Context(), m); err != nil {
			t.Fatalf("notify: %v", err)
		}
		for _, r := range srv.Requests() {
			if c.Limit > 0 && len(r.Body) > c.Limit {
				t.Errorf("a body of %d bytes, the service takes %d", len(r.Body), c.Limit)
			}
			if !utf8.Valid(r.Body) {
				t.Error("cut inside a character")
			}
		}
	})
	t.Run("batch", func(t *testing.T) {
		srv.Requests()
		srv.Answer(good)
		a, b := Message(), Message()
		second := *b.Alert
		second.ID = alertv1.EventID("read-shadow", "node-2", "boot", 43)
		second.Output, second.Node = "another one", "node-2"
		b.Alert = &second
		if err := send(t.Context(), a, b); err != nil {
			t.Fatalf("notify: %v", err)
		}
		var all strings.Builder
		for _, r := range srv.Requests() {
			all.WriteString(string(r.Body) + r.Query)
		}
		if !strings.Contains(all.String(), "another one") && !strings.Contains(all.String(), "another+one") || !strings.Contains(all.String(), "/etc/shadow") && !strings.Contains(all.String(), `\/etc\/shadow`) && !strings.Contains(all.String(), "%2Fetc%2Fshadow") {
			t.Errorf("an alert of the batch is missing:\n%s", all.String())
		}
	})
	if c.Key != nil {
		t.Run("idempotency key", func(t *testing.T) {
			srv.Requests()
			srv.Answer(good)
			for range 2 {
				if err := send(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			reqs := srv.Requests()
			if k, again := c.Key(t, reqs[c.Reads]), c.Key(t, reqs[2*c.Reads+1]); k == "" || k != again {
				t.Errorf("keys %q and %q, want the same", k, again)
			}
		})
	}
}

// unpartial is the first error of a batch.
func unpartial(err error) error {
	if p, ok := errors.AsType[*notify.Partial](err); ok {
		for _, e := range p.Errs {
			if e != nil {
				return e
			}
		}
	}
	return err
}
