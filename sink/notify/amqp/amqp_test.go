package amqp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestAMQP(t *testing.T) {
	ca := notifytest.NewCA(t)
	srv := start(t, ca)
	conn, err := client.Dial("amqp://u:" + notifytest.Secret + "@" + srv.plain + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("gyre.alerts", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("security", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("gyre.alerts", "alert.critical.#", "security", false, nil); err != nil {
		t.Fatal(err)
	}
	got, err := ch.Consume("gyre.alerts", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := func(t testing.TB) client.Delivery {
		t.Helper()
		select {
		case d := <-got:
			return d
		case <-time.After(20 * time.Second):
			t.Fatal("the queue gets nothing")
		}
		return client.Delivery{}
	}
	settings := func(set func(*Config)) func(testing.TB, string) notify.Settings {
		return func(_ testing.TB, addr string) notify.Settings {
			c := Default()
			c.Address, c.TLS, c.User, c.Password = addr, false, "u", daemon.NewSecret(notifytest.Secret)
			set(c)
			return c
		}
	}
	for name, tt := range map[string]struct {
		addr string
		set  func(*Config)
	}{
		"plain": {srv.plain, func(*Config) {}}, "tls": {srv.tls, func(c *Config) { c.TLS, c.CAFile = true, ca.File }},
	} {
		t.Run(name, func(t *testing.T) {
			notifytest.RunBroker(t, notifytest.Broker{Addr: tt.addr, Limit: maxAlert, Settings: settings(tt.set), Received: func(t testing.TB, n int) [][]byte {
				var out [][]byte
				for range n {
					out = append(out, next(t).Body)
				}
				return out
			}})
		})
	}
	send := func(t *testing.T, set func(*Config)) error {
		return notifytest.Open(t, settings(set)(t, srv.plain), notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
	}
	t.Run("topic exchange", func(t *testing.T) {
		if err := send(t, func(c *Config) { c.Exchange, c.Key = "security", "alert.{{.Priority}}.{{.Node}}" }); err != nil {
			t.Fatal(err)
		}
		d := next(t)
		if d.MessageId != notifytest.Message().Alert.ID.String() || d.DeliveryMode != client.Persistent || d.RoutingKey != "alert.critical.node-1" || d.Headers["rule"] != "Read sensitive file" {
			t.Errorf("got %+v", d)
		}
	})
	for name, tt := range map[string]struct {
		set  func(*Config)
		want string
	}{
		"no queue":        {func(c *Config) { c.Key = "nobody" }, "no queue takes the message"},
		"not bound":       {func(c *Config) { c.Exchange, c.Key = "security", "else" }, "no queue takes the message"},
		"no exchange":     {func(c *Config) { c.Exchange = "gone" }, "check exchange"},
		"wrong password":  {func(c *Config) { c.Password = daemon.NewSecret("wrong") }, "403"},
		"no such vhost":   {func(c *Config) { c.VHost = "/gone" }, "530"},
		"TLS to no TLS":   {func(c *Config) { c.TLS = true }, "tls"},
		"other authority": {func(c *Config) { c.TLS, c.Address = true, srv.tls }, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			err := send(t, tt.set)
			if err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	t.Run("goes on after a cut", func(t *testing.T) {
		n := notifytest.Open(t, settings(func(*Config) {})(t, srv.plain), notifytest.Env(t.Output()))
		one := []notify.Message{notifytest.Message()}
		ended, cancel := context.WithCancel(t.Context())
		if err := n.Notify(ended, one); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := n.Notify(ended, one); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := n.Notify(t.Context(), one); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestRefused(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"address": func(c *Config) { c.Address = "h" }, "no key": func(c *Config) { c.Key = "" }, "template": func(c *Config) { c.Key = "{{.Nope}}" }, "key alone": func(c *Config) { c.KeyFile = "k" },
	} {
		c := Default()
		c.Address = "h:5671"
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if set(c); c.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// broker is a RabbitMQ of the test's own.
type broker struct{ plain, tls string }

// config of the broker; the directory is filled in.
const config = `listeners.tcp.1 = %s
listeners.ssl.1 = %s
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_none
default_user = u
default_pass = %s
log.console = true
log.console.level = warning
log.file = false
`

func (b broker) write(t *testing.T, dir string, ca *notifytest.CA) {
	t.Helper()
	certFile, keyFile := ca.Issue("127.0.0.1")
	for name, text := range map[string]string{"rabbitmq.conf": fmt.Sprintf(config, b.plain, b.tls, ca.File, certFile, keyFile, notifytest.Secret), "plugins": "[].\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
