// Package mqtt publishes alerts to an MQTT 5 broker.
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Address  string        `yaml:"address" doc:"host:port of the broker"`
	Topic    string        `yaml:"topic" doc:"topic"`
	QoS      int           `yaml:"qos" doc:"1 waits for the broker's acknowledgement, 2 has it drop repetitions too"`
	ClientID string        `yaml:"client_id" doc:"id of this client; empty lets the broker choose"`
	User     string        `yaml:"user" doc:"user"`
	Password daemon.Secret `yaml:"password" doc:"password"`
	TLS      bool          `yaml:"tls" doc:"connect with TLS"`
	CAFile   string        `yaml:"ca_file" doc:"certificates of the authorities that sign the broker's"`
	CertFile string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string        `yaml:"key_file" doc:"key of the client certificate"`
	MaxBytes int           `yaml:"max_bytes" doc:"size of the largest message"`
}

// Default publishes to gyre/alerts with acknowledgement.
func Default() *Config { return &Config{Topic: "gyre/alerts", QoS: 1, MaxBytes: 256 << 10} }

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

var topicForm = regexp.MustCompile(`^[^+#\x00]+$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		errs = append(errs, fmt.Errorf("address is %q, want host:port", c.Address))
	}
	if !topicForm.MatchString(c.Topic) {
		errs = append(errs, fmt.Errorf("topic is %q, want one without + and #", c.Topic))
	}
	if c.QoS != 1 && c.QoS != 2 {
		errs = append(errs, fmt.Errorf("qos is %d, want 1 or 2: with 0 alerts would be lost", c.QoS))
	}
	if c.MaxBytes < 1<<10 || c.MaxBytes > 64<<20 {
		errs = append(errs, fmt.Errorf("max_bytes is %d, want 1024 to 67108864", c.MaxBytes))
	}
	return errors.Join(append(errs, c.tls().Validate())...)
}

type publisher struct {
	cfg      *Config
	password string
	tls      *tls.Config
	mu       sync.Mutex
	client   *paho.Client
}

// Open reads the secrets.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	p := &publisher{cfg: c}
	var err error
	if p.password, err = c.Password.Resolve(); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	p.tls, err = c.tls().TLS()
	return p, err
}

// Notify publishes each alert and waits for the acknowledgement.
func (p *publisher) Notify(ctx context.Context, batch []notify.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.connect(ctx); err != nil {
		return err
	}
	return notify.Each(ctx, batch, func(ctx context.Context, m *notify.Message) error {
		doc, err := format.Fit(m.Alert, p.cfg.MaxBytes)
		if err != nil {
			return bus.Permanent(err)
		}
		props := &paho.PublishProperties{ContentType: "application/json", User: paho.UserProperties{{Key: "alert_id", Value: m.Alert.ID.String()}, {Key: "priority", Value: m.Alert.Priority.String()}}}
		if _, err := p.client.Publish(ctx, &paho.Publish{Topic: p.cfg.Topic, QoS: byte(p.cfg.QoS), Payload: doc, Properties: props}); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		return nil
	})
}

// connect makes a connection unless there is one that stands.
func (p *publisher) connect(ctx context.Context) error {
	if p.client != nil {
		select {
		case <-p.client.Done():
			p.client = nil
		default:
			return nil
		}
	}
	var conn net.Conn
	var err error
	if p.cfg.TLS {
		conn, err = (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", p.cfg.Address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", p.cfg.Address)
	}
	if err != nil {
		return fmt.Errorf("connect to broker: %w", err)
	}
	client := paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: time.Minute, OnClientError: func(error) {}, OnServerDisconnect: func(*paho.Disconnect) {}})
	cp := &paho.Connect{ClientID: p.cfg.ClientID, CleanStart: true, KeepAlive: 30}
	if p.cfg.User != "" {
		cp.UsernameFlag, cp.Username, cp.PasswordFlag, cp.Password = true, p.cfg.User, true, []byte(p.password)
	}
	if _, err := client.Connect(ctx, cp); err != nil {
		_ = conn.Close()
		return daemon.Hint(fmt.Errorf("connect to broker: %w", err), "check the address and the user of the output")
	}
	p.client = client
	return nil
}

// Close says goodbye to the broker.
func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		return nil
	}
	return p.client.Disconnect(&paho.Disconnect{ReasonCode: 0})
}
