package redis

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestRedis(t *testing.T) {
	srv := miniredis.RunT(t)
	srv.RequireAuth(notifytest.Secret)
	read := 0
	notifytest.RunBroker(t, notifytest.Broker{
		Addr: srv.Addr(), Limit: maxAlert,
		Settings: func(_ testing.TB, addr string) notify.Settings {
			c := Default()
			c.Address, c.Password = addr, daemon.NewSecret(notifytest.Secret)
			return c
		},
		Received: func(t testing.TB, n int) [][]byte {
			list, err := srv.Stream("gyre:alerts")
			if err != nil || len(list) != read+n {
				t.Fatalf("%d entries, %v", len(list), err)
			}
			var out [][]byte
			for _, e := range list[read:] {
				if e.Values[0] != "id" || e.Values[4] != "priority" {
					t.Errorf("fields %v", e.Values)
				}
				out = append(out, []byte(e.Values[7]))
			}
			read += n
			return out
		},
	})
}

func TestWrongType(t *testing.T) {
	srv := miniredis.RunT(t)
	if err := srv.Set("gyre:alerts", "x"); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Address = srv.Addr()
	if err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()}); err == nil {
		t.Error("a key of another type was taken")
	}
}
