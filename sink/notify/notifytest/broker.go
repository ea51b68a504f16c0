package notifytest

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Broker describes an output that speaks a protocol of its own to a real server.
type Broker struct {
	// Settings returns settings that send to host:port, with [Secret] as their password.
	Settings func(t testing.TB, addr string) notify.Settings
	// Addr is where the server listens.
	Addr string
	// Received returns the payloads of the next n messages that the server got.
	Received func(t testing.TB, n int) [][]byte
	// Limit is the size of the largest message, in bytes; 0 means none.
	Limit int
}

// RunBroker runs the suite.
func RunBroker(t *testing.T, b Broker) {
	t.Helper()
	var logged syncBuffer
	open := func(addr string) notify.Notifier { return Open(t, b.Settings(t, addr), Env(&logged)) }
	n := open(b.Addr)
	hidden := func(t *testing.T, err error) {
		t.Helper()
		if err != nil && strings.Contains(err.Error(), Secret) || strings.Contains(logged.String(), Secret) {
			t.Errorf("the secret is in an error or the log: %v\n%s", err, logged.String())
		}
	}
	t.Run("success", func(t *testing.T) {
		if err := n.Notify(t.Context(), []notify.Message{Message()}); err != nil {
			t.Fatalf("notify: %v", err)
		}
		got := b.Received(t, 1)
		if !bytes.Contains(got[0], []byte("/etc/shadow")) || bytes.ContainsRune(got[0], 0x1b) || !bytes.Equal(bytes.ToValidUTF8(got[0], nil), got[0]) {
			t.Errorf("got %q", got[0])
		}
		hidden(t, nil)
	})
	t.Run("batch", func(t *testing.T) {
		m, other := Message(), Message()
		a := *other.Alert
		a.ID, a.Output = alertv1.EventID("x", "n", "b", 9), "another one"
		other.Alert = &a
		if err := unpartial(n.Notify(t.Context(), []notify.Message{m, other})); err != nil {
			t.Fatalf("notify: %v", err)
		}
		if got := b.Received(t, 2); !bytes.Contains(got[1], []byte("another one")) && !bytes.Contains(got[0], []byte("another one")) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("oversize", func(t *testing.T) {
		m := Message()
		a := *m.Alert
		a.ID, a.Output = alertv1.EventID("big", "n", "b", 9), strings.Repeat("é<", 1_000_000)
		m.Alert = &a
		if err := unpartial(n.Notify(t.Context(), []notify.Message{m})); err != nil {
			t.Fatalf("notify: %v", err)
		}
		if got := b.Received(t, 1)[0]; b.Limit > 0 && len(got) > b.Limit || !bytes.Equal(bytes.ToValidUTF8(got, nil), got) {
			t.Errorf("%d bytes", len(got))
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		b.fails(t, open(addr), hidden)
	})
	t.Run("no answer", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // connections wait in its queue
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		b.fails(t, open(l.Addr().String()), hidden)
	})
}

// fails: a server that does not answer gives a transient error soon after the context ends.
func (b Broker) fails(t *testing.T, n notify.Notifier, hidden func(*testing.T, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- unpartial(n.Notify(ctx, []notify.Message{Message()})) }()
	select {
	case err := <-ended:
		if err == nil || bus.IsPermanent(err) {
			t.Errorf("got %v, want a transient error", err)
		}
		hidden(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the attempt goes on after its context")
	}
}
