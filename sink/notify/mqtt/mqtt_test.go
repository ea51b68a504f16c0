package mqtt

import (
	"testing"

	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestMQTT(t *testing.T) {
	srv := server.New(&server.Options{InlineClient: true, Logger: bustest.Log()})
	ledger := &auth.Ledger{Auth: auth.AuthRules{{Username: "u", Password: notifytest.Secret, Allow: true}}, ACL: auth.ACLRules{{Username: "u", Filters: auth.Filters{"#": auth.ReadWrite}}}}
	if err := srv.AddHook(new(auth.Hook), &auth.Options{Ledger: ledger}); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := srv.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	got := make(chan []byte, 16)
	if err := srv.Subscribe("gyre/alerts", 1, func(_ *server.Client, _ packets.Subscription, pk packets.Packet) { got <- pk.Payload }); err != nil {
		t.Fatal(err)
	}
	for _, qos := range []int{1, 2} {
		notifytest.RunBroker(t, notifytest.Broker{
			Addr: l.Address(), Limit: 256 << 10,
			Settings: func(_ testing.TB, addr string) notify.Settings {
				c := Default()
				c.Address, c.QoS, c.User, c.Password = addr, qos, "u", daemon.NewSecret(notifytest.Secret)
				return c
			},
			Received: func(_ testing.TB, n int) [][]byte {
				var out [][]byte
				for range n {
					out = append(out, <-got)
				}
				return out
			},
		})
	}
}

func TestRefused(t *testing.T) {
	c := Default()
	c.Address, c.QoS = "h:1", 0
	if c.Validate() == nil {
		t.Error("QoS 0 was accepted")
	}
}
