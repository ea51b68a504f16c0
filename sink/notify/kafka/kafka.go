// Package kafka produces alerts to a Kafka topic.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Brokers  []string      `yaml:"brokers" doc:"host:port of some brokers"`
	Topic    string        `yaml:"topic" doc:"topic; it must be there"`
	SASL     string        `yaml:"sasl" doc:"none, plain, scram-sha-256 or scram-sha-512"`
	User     string        `yaml:"user" doc:"user"`
	Password daemon.Secret `yaml:"password" doc:"password"`
	TLS      bool          `yaml:"tls" doc:"connect with TLS"`
	CAFile   string        `yaml:"ca_file" doc:"certificates of the authorities that sign the brokers'"`
	CertFile string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string        `yaml:"key_file" doc:"key of the client certificate"`
}

// Default produces to gyre.alerts.
func Default() *Config { return &Config{Topic: "gyre.alerts", SASL: "none"} }

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.Required("brokers", len(c.Brokers) > 0), web.Required("topic", c.Topic != ""), c.tls().Validate()}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("brokers: %q is no host:port", b))
		}
	}
	if !slices.Contains([]string{"none", "plain", "scram-sha-256", "scram-sha-512"}, c.SASL) {
		errs = append(errs, fmt.Errorf("sasl is %q, want none, plain, scram-sha-256 or scram-sha-512", c.SASL))
	}
	return errors.Join(errs...)
}

// Batch produces many at once.
func (*Config) Batch() (int, time.Duration) { return 500, 100 * time.Millisecond }

const maxAlert = 900 << 10 // bytes; a topic takes 1 MB by default

type producer struct{ client *kgo.Client }

// Open reads the secrets; connections are made when needed.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.DefaultProduceTopic(c.Topic), kgo.ClientID("gyre"), kgo.ProducerBatchMaxBytes(1_000_000), kgo.UnknownTopicRetries(0)}
	if c.TLS {
		t, err := c.tls().TLS()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	switch c.SASL {
	case "plain":
		opts = append(opts, kgo.SASL(plain.Auth{User: c.User, Pass: password}.AsMechanism()))
	case "scram-sha-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: c.User, Pass: password}.AsSha256Mechanism()))
	case "scram-sha-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: c.User, Pass: password}.AsSha512Mechanism()))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make kafka client: %w", err)
	}
	return &producer{client}, nil
}

// Notify produces a record for each alert, with the node as its key so that a node's alerts keep their order, and
// waits until all replicas in sync have them. The client's own repetitions are idempotent.
func (p *producer) Notify(ctx context.Context, batch []notify.Message) error {
	records := make([]*kgo.Record, len(batch))
	for i := range batch {
		a := batch[i].Alert
		doc, err := format.Fit(a, maxAlert)
		if err != nil {
			return bus.Permanent(err)
		}
		records[i] = &kgo.Record{Key: []byte(a.Node), Value: doc, Timestamp: a.When(), Headers: []kgo.RecordHeader{
			{Key: "alert_id", Value: []byte(a.ID.String())}, {Key: "rule", Value: []byte(a.Rule)}, {Key: "priority", Value: []byte(a.Priority.String())},
		}}
	}
	at := make(map[*kgo.Record]int, len(records))
	for i, r := range records {
		at[r] = i
	}
	part, failed := &notify.Partial{Errs: make([]error, len(batch))}, false
	for _, r := range p.client.ProduceSync(ctx, records...) {
		if r.Err == nil {
			continue
		}
		err := r.Err
		if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord) {
			err = bus.Permanent(err)
		}
		part.Errs[at[r.Record]], failed = err, true
	}
	switch {
	case !failed:
		return nil
	case len(batch) == 1:
		return part.Errs[0]
	}
	return part
}

// Close closes the connections.
func (p *producer) Close() error {
	p.client.Close()
	return nil
}
