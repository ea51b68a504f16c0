package bus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// ErrConfig is wrapped by what [Config.Validate] returns.
var ErrConfig = errors.New("invalid nats configuration")

// Config says where NATS is and how large its streams may grow.
type Config struct {
	URL            string        `yaml:"url" doc:"NATS servers, separated by commas"`
	Name           string        `yaml:"name" doc:"name of this connection in the server's lists"`
	CredsFile      string        `yaml:"creds_file" doc:"file with a user JWT and nkey seed"`
	NKeyFile       string        `yaml:"nkey_file" doc:"file with an nkey seed"`
	Token          daemon.Secret `yaml:"token" doc:"token, if the server asks for one"`
	InboxPrefix    string        `yaml:"inbox_prefix" doc:"where answers to this connection go; a prefix of its own keeps others from reading them"`
	TLS            TLS           `yaml:"tls" doc:"transport security; the server's certificate is always verified"`
	Codec          Codec         `yaml:"codec" doc:"compression of batches: s2, zstd or none"`
	ConnectTimeout time.Duration `yaml:"connect_timeout" doc:"how long the first connection may take"`
	PublishTimeout time.Duration `yaml:"publish_timeout" doc:"how long a publish waits for its acknowledgement before it is sent again"`
	Replicas       int           `yaml:"replicas" doc:"copies of each stream: 3 in a fleet, over three failure domains; 1 on a single server"`
	Duplicates     time.Duration `yaml:"duplicates" doc:"how long a stream remembers message ids"`
	Streams        Streams       `yaml:"streams" doc:"limits of each stream; the oldest messages go first"`
}

// TLS names certificate files.
type TLS struct {
	CAFile   string `yaml:"ca_file" doc:"certificates of the authorities that sign servers"`
	CertFile string `yaml:"cert_file" doc:"certificate of this client"`
	KeyFile  string `yaml:"key_file" doc:"key of that certificate"`
}

// Limits bound one stream.
type Limits struct {
	MaxAge   time.Duration `yaml:"max_age" doc:"how long messages are kept"`
	MaxBytes daemon.Bytes  `yaml:"max_bytes" doc:"how many bytes are kept"`
}

// Streams holds the limits of every stream.
type Streams struct {
	Events   Limits `yaml:"events" doc:"raw batches"`
	Enriched Limits `yaml:"enriched" doc:"enriched batches: what replay reads"`
	Signals  Limits `yaml:"signals" doc:"matches of correlation rules"`
	Alerts   Limits `yaml:"alerts" doc:"alerts"`
	Dead     Limits `yaml:"dead" doc:"what could not be processed"`
	Actions  Limits `yaml:"actions" doc:"response requests"`
	Results  Limits `yaml:"results" doc:"what became of response requests"`
	Changes  Limits `yaml:"changes" doc:"changes in clusters"`
	Stored   Limits `yaml:"stored" doc:"events that wait to be stored in ClickHouse, see evaluator.store_events"`
}

const day = 24 * time.Hour

// DefaultConfig is a local server with room for a day of events.
func DefaultConfig() Config {
	return Config{
		URL: "nats://127.0.0.1:4222", Name: "gyre", Codec: S2,
		ConnectTimeout: 5 * time.Second, PublishTimeout: 10 * time.Second, Replicas: 1, Duplicates: 2 * time.Minute,
		Streams: Streams{
			Events:   Limits{day, 4 << 30},
			Enriched: Limits{3 * day, 8 << 30},
			Signals:  Limits{day, 1 << 30},
			Alerts:   Limits{30 * day, 2 << 30},
			Dead:     Limits{30 * day, 256 << 20},
			Actions:  Limits{time.Hour, 16 << 20},
			Results:  Limits{30 * day, 256 << 20},
			Changes:  Limits{7 * day, 256 << 20},
			Stored:   Limits{day, 1 << 30},
		},
	}
}

// Validate checks everything that can be checked without a server.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.URL == "" {
		add("url is empty")
	}
	if !c.Codec.valid() {
		add("codec is %q, want s2, zstd or none", c.Codec)
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		add("replicas is %d, want 1 to 5", c.Replicas)
	}
	if c.ConnectTimeout <= 0 || c.PublishTimeout <= 0 || c.Duplicates <= 0 {
		add("connect_timeout, publish_timeout and duplicates must be above 0")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		add("tls.cert_file and tls.key_file go together")
	}
	if strings.ContainsAny(c.InboxPrefix, "*> \t\r\n") || strings.HasPrefix(c.InboxPrefix, ".") || strings.HasSuffix(c.InboxPrefix, ".") || strings.Contains(c.InboxPrefix, "..") {
		add("inbox_prefix is %q, want a subject without wildcards, such as _INBOX_NODE", c.InboxPrefix)
	}
	for _, s := range c.topology() {
		if s.limits.MaxAge <= 0 || s.limits.MaxBytes <= 0 {
			add("streams.%s: max_age and max_bytes must be above 0", s.key)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
	}
	return nil
}
