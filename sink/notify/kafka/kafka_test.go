package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestKafka(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "gyre.alerts"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", notifytest.Secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	settings := func(_ testing.TB, addr string) notify.Settings {
		s := Default()
		s.Brokers, s.SASL, s.User, s.Password = []string{addr}, "plain", "u", daemon.NewSecret(notifytest.Secret)
		return s
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("gyre.alerts"), kgo.SASL(plain.Auth{User: "u", Pass: notifytest.Secret}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	notifytest.RunBroker(t, notifytest.Broker{
		Addr: c.ListenAddrs()[0], Settings: settings, Limit: maxAlert,
		Received: func(t testing.TB, n int) [][]byte {
			var out [][]byte
			for len(out) < n {
				f := reader.PollFetches(t.Context())
				if err := f.Err(); err != nil {
					t.Fatal(err)
				}
				f.EachRecord(func(r *kgo.Record) {
					if string(r.Key) != "node-1" || len(r.Headers) != 3 {
						t.Errorf("key %s, headers %v", r.Key, r.Headers)
					}
					out = append(out, r.Value)
				})
			}
			return out
		},
	})
	t.Run("no topic", func(t *testing.T) {
		s := settings(t, c.ListenAddrs()[0]).(*Config)
		s.Topic = "gone"
		err := notifytest.Open(t, s, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	})
}
