// Package nats publishes alerts to a NATS server, that of somebody else or another account.
package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL       string        `yaml:"url" doc:"servers, separated by commas"`
	Subject   string        `yaml:"subject" doc:"prefix of the subject; the priority follows"`
	JetStream bool          `yaml:"jetstream" doc:"have a stream of the server store each alert"`
	CredsFile string        `yaml:"creds_file" doc:"file with a user JWT and nkey seed"`
	NKeyFile  string        `yaml:"nkey_file" doc:"file with an nkey seed"`
	Token     daemon.Secret `yaml:"token" doc:"token"`
	CAFile    string        `yaml:"ca_file" doc:"certificates of the authorities that sign the server's"`
	CertFile  string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile   string        `yaml:"key_file" doc:"key of the client certificate"`
	Format    format.Format `yaml:"format" doc:"gyre, falco or cloudevents"`
}

// Default publishes gyre's JSON to alerts.<priority>.
func Default() *Config {
	return &Config{Subject: "alerts", Format: format.Gyre}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.Required("url", c.URL != ""), web.Required("subject", c.Subject != "")}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("cert_file and key_file go together"))
	}
	for _, r := range c.Subject {
		if r <= ' ' || r == '*' || r == '>' {
			errs = append(errs, fmt.Errorf("subject is %q, want one without blanks, * and >", c.Subject))
			break
		}
	}
	return errors.Join(errs...)
}

// Batch publishes what comes together.
func (*Config) Batch() (int, time.Duration) { return 200, 100 * time.Millisecond }

const maxAlert = 900 << 10 // bytes; a server takes 1 MB by default

type publisher struct {
	cfg    *Config
	server bus.Config
	mu     sync.Mutex
	conn   *bus.Plain // nil until the first alert: a server that is away does not keep the sink from starting
}

// Open makes no connection.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.Name, cfg.CredsFile, cfg.NKeyFile, cfg.Token = c.URL, "gyre-output-"+env.Name, c.CredsFile, c.NKeyFile, c.Token
	cfg.TLS = bus.TLS{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
	if _, err := c.Token.Resolve(); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return &publisher{cfg: c, server: cfg}, nil
}

func (p *publisher) connection() (*bus.Plain, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		conn, err := bus.Dial(p.server, p.cfg.JetStream)
		if err != nil {
			return nil, err
		}
		p.conn = conn
	}
	return p.conn, nil
}

// Notify publishes each alert; its id is the message's id, so that a stream drops a repetition.
func (p *publisher) Notify(ctx context.Context, batch []notify.Message) error {
	msgs := make([]bus.Message, len(batch))
	for i := range batch {
		a := batch[i].Alert
		doc, err := p.cfg.Format.Append(nil, &batch[i])
		if err == nil && len(doc) > maxAlert {
			doc, err = format.Fit(a, maxAlert)
		}
		if err != nil {
			return bus.Permanent(err)
		}
		msgs[i] = bus.Message{Subject: p.cfg.Subject + "." + subject.Token(a.Priority.String()), ID: a.ID.String(), Data: doc}
	}
	conn, err := p.connection()
	if err != nil {
		return err
	}
	return conn.Publish(ctx, msgs...)
}

// Close closes the connection.
func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return nil
	}
	return p.conn.Close()
}
