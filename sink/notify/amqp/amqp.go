// Package amqp publishes alerts to RabbitMQ and other brokers of AMQP 0-9-1.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Address  string        `yaml:"address" doc:"host:port of the broker"`
	VHost    string        `yaml:"vhost" doc:"virtual host"`
	Exchange string        `yaml:"exchange" doc:"exchange, which must be there; empty for the default one, whose routing keys are names of queues"`
	Key      string        `yaml:"routing_key" doc:"routing key, or the name of the queue; a template"`
	User     string        `yaml:"user" doc:"user"`
	Password daemon.Secret `yaml:"password" doc:"password"`
	TLS      bool          `yaml:"tls" doc:"connect with TLS; without it the password travels in clear text"`
	CAFile   string        `yaml:"ca_file" doc:"certificates of the authorities that sign the broker's"`
	CertFile string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string        `yaml:"key_file" doc:"key of the client certificate"`
}

// Default publishes to the queue gyre.alerts, over TLS.
func Default() *Config { return &Config{VHost: "/", Key: "gyre.alerts", TLS: true} }

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.Required("address", c.Address != ""), web.Required("routing_key", c.Key != ""), c.tls().Validate()}
	if _, _, err := net.SplitHostPort(c.Address); c.Address != "" && err != nil {
		errs = append(errs, fmt.Errorf("address is %q, want host:port", c.Address))
	}
	if _, err := notify.ParseTemplate("routing_key", c.Key); err != nil {
		errs = append(errs, fmt.Errorf("routing_key: %w", err))
	}
	return errors.Join(errs...)
}

// Batch publishes many, and then waits for the broker to confirm them.
func (*Config) Batch() (int, time.Duration) { return 200, 50 * time.Millisecond }

const (
	maxAlert = 512 << 10 // bytes
	maxKey   = 255       // bytes, of the protocol
)

// publisher keeps a connection; each batch has a channel of its own.
type publisher struct {
	cfg *Config
	dc  client.Config
	key *notify.Template

	mu   sync.Mutex
	conn *client.Connection
	raw  net.Conn
}

// Open reads the password; the connection is made when needed.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	p := &publisher{cfg: c, dc: client.Config{Vhost: c.VHost, Heartbeat: 10 * time.Second, Properties: client.Table{"connection_name": "gyre"}}}
	p.dc.SASL = []client.Authentication{&client.PlainAuth{Username: c.User, Password: password}}
	if c.TLS {
		if p.dc.TLSClientConfig, err = c.tls().TLS(); err != nil {
			return nil, err
		}
		p.dc.TLSClientConfig.ServerName, _, _ = net.SplitHostPort(c.Address)
		if password == "" && c.CertFile != "" {
			p.dc.SASL = []client.Authentication{&client.ExternalAuth{}}
		}
	}
	p.key, err = notify.ParseTemplate("routing_key", c.Key)
	return p, err
}

// Notify publishes persistent messages with the alerts' ids, and waits until the broker has confirmed each. One that no queue
// takes comes back, and is an error: an operator can bind a queue.
func (p *publisher) Notify(ctx context.Context, batch []notify.Message) error {
	ch, done, err := p.channel(ctx)
	if err != nil {
		return p.failed(ctx, err)
	}
	defer done()
	returned := ch.NotifyReturn(make(chan client.Return, len(batch)))
	confirms := make([]*client.DeferredConfirmation, len(batch))
	part := &notify.Partial{Errs: make([]error, len(batch))}
	for i := range batch {
		msg, key, err := p.message(&batch[i])
		if err != nil {
			part.Errs[i] = bus.Permanent(err)
			continue
		}
		if confirms[i], err = ch.PublishWithDeferredConfirmWithContext(ctx, p.cfg.Exchange, key, true, false, msg); err != nil {
			return p.failed(ctx, err)
		}
	}
	for i, c := range confirms {
		if c == nil {
			continue
		}
		switch acked, err := c.WaitContext(ctx); {
		case err != nil:
			return p.failed(ctx, err)
		case !acked && ch.IsClosed():
			return p.failed(ctx, errors.New("the broker closed the channel: check exchange, routing_key and the user's permissions"))
		case !acked:
			part.Errs[i] = errors.New("the broker does not confirm the message")
		}
	}
	p.unroutable(returned, batch, part)
	return result(part)
}

// unroutable notes what came back. The broker returns a message before it confirms it.
func (p *publisher) unroutable(returned <-chan client.Return, batch []notify.Message, part *notify.Partial) {
	back := map[string]string{}
	for len(returned) > 0 {
		r := <-returned
		back[r.MessageId] = r.ReplyText
	}
	for i := range batch {
		if why, ok := back[batch[i].Alert.ID.String()]; ok {
			part.Errs[i] = daemon.Hint(fmt.Errorf("no queue takes the message: %s", notify.Cut(notify.Clean(why), 100)), "make the queue, or bind one to the exchange")
		}
	}
}

// result is the error of a batch.
func result(part *notify.Partial) error {
	for _, err := range part.Errs {
		if err == nil {
			continue
		}
		if len(part.Errs) == 1 {
			return err
		}
		return part
	}
	return nil
}

func (p *publisher) message(m *notify.Message) (msg client.Publishing, key string, err error) {
	a := m.Alert
	doc, err := format.Fit(a, maxAlert)
	if err != nil {
		return msg, "", err
	}
	if key, err = p.key.Text(m, nil); err != nil {
		return msg, "", err
	}
	return client.Publishing{
		ContentType: "application/json", DeliveryMode: client.Persistent, MessageId: a.ID.String(), Timestamp: a.When(), AppId: "gyre", Type: "gyre.alert.v1", Body: doc,
		Headers: client.Table{"rule": notify.Clean(a.Rule), "priority": a.Priority.String(), "node": notify.Clean(a.Node)},
	}, notify.CutBytes(strings.TrimSpace(key), maxKey), nil
}

// channel opens a channel in confirm mode. A connection whose batch is late is cut, since the library waits for the broker
// without bounds; done ends the watch and closes the channel.
func (p *publisher) channel(ctx context.Context) (ch *client.Channel, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.conn.IsClosed() {
		if err := p.connect(ctx); err != nil {
			return nil, nil, err
		}
	}
	raw := p.raw
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	if ch, err = p.conn.Channel(); err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return ch, func() { _ = ch.Close(); stop() }, nil
}

func (p *publisher) connect(ctx context.Context) error {
	var stop func() bool
	dc := p.dc
	dc.Dial = func(network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if d, ok := ctx.Deadline(); ok {
			if err := c.SetDeadline(d); err != nil { // the library clears it when the connection is open
				return nil, errors.Join(err, c.Close())
			}
		}
		stop = context.AfterFunc(ctx, func() { _ = c.Close() })
		p.raw = c
		return c, nil
	}
	scheme := "amqp://"
	if p.cfg.TLS {
		scheme = "amqps://"
	}
	conn, err := client.DialConfig(scheme+p.cfg.Address, dc)
	if stop != nil {
		stop()
	}
	p.conn = conn
	return err
}

// failed cuts the connection, which is in an unknown state, and names the reason. All that the broker says can be mended.
func (p *publisher) failed(ctx context.Context, err error) error {
	p.mu.Lock()
	if p.conn != nil {
		_ = p.raw.Close()
		p.conn = nil
	}
	p.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if ae, ok := errors.AsType[*client.Error](err); ok {
		return daemon.Hint(fmt.Errorf("the broker answers %d: %s", ae.Code, notify.Cut(notify.Clean(ae.Reason), 200)), "check user, vhost, exchange and permissions")
	}
	return err
}

// Close closes the connection.
func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.conn.IsClosed() {
		return nil
	}
	return p.conn.CloseDeadline(time.Now().Add(2 * time.Second))
}
