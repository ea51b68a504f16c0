// Package syslog sends alerts as syslog messages of RFC 5424 over UDP, TCP (octet counting, RFC 6587) or TLS (RFC 5425).
package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Address  string `yaml:"address" doc:"host:port of the receiver"`
	Network  string `yaml:"network" doc:"udp, tcp or tls"`
	Facility int    `yaml:"facility" doc:"facility, 0 to 23; 10 is security messages"`
	AppName  string `yaml:"app_name" doc:"name of the program in the messages"`
	Format   string `yaml:"format" doc:"text, or gyre, falco or cloudevents for JSON"`
	MaxBytes int    `yaml:"max_bytes" doc:"size of a message; what is longer is cut"`
	CAFile   string `yaml:"ca_file" doc:"certificates of the authorities that sign the receiver's"`
	CertFile string `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string `yaml:"key_file" doc:"key of the client certificate"`
}

// Default is TCP with messages of 8 KiB.
func Default() *Config {
	return &Config{Network: "tcp", Facility: 10, AppName: "gyre", Format: "text", MaxBytes: 8192}
}

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		errs = append(errs, fmt.Errorf("address is %q, want host:port", c.Address))
	}
	if !slices.Contains([]string{"udp", "tcp", "tls"}, c.Network) {
		errs = append(errs, fmt.Errorf("network is %q, want udp, tcp or tls", c.Network))
	}
	if c.Facility < 0 || c.Facility > 23 {
		errs = append(errs, fmt.Errorf("facility is %d, want 0 to 23", c.Facility))
	}
	if !slices.Contains([]string{"text", "gyre", "falco", "cloudevents"}, c.Format) {
		errs = append(errs, fmt.Errorf("format is %q, want text, gyre, falco or cloudevents", c.Format))
	}
	if c.MaxBytes < 480 || c.MaxBytes > 1<<20 {
		errs = append(errs, fmt.Errorf("max_bytes is %d, want 480 to 1048576", c.MaxBytes))
	}
	return errors.Join(append(errs, c.tls().Validate())...)
}

// Batch writes what comes together at once.
func (*Config) Batch() (int, time.Duration) { return 100, 100 * time.Millisecond }

type syslog struct {
	cfg  *Config
	tls  *tls.Config
	mu   sync.Mutex
	conn net.Conn
}

// Open reads certificates.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	t, err := c.tls().TLS()
	if err != nil {
		return nil, err
	}
	return &syslog{cfg: c, tls: t}, nil
}

// Notify writes a batch over one connection. The protocol has no acknowledgement: what the receiver's host had and
// the receiver had not when it went away is lost, with UDP more. A connection that the receiver closed is noticed before writing.
func (s *syslog) Notify(ctx context.Context, batch []notify.Message) error {
	var all [][]byte
	for i := range batch {
		m, err := s.message(&batch[i])
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.cfg.Network != "udp" && closed(s.conn) {
		s.drop()
	}
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return daemon.Hint(fmt.Errorf("connect to syslog receiver: %w", err), "check address, network and certificates of the output")
		}
	}
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Now()) })()
	if d, ok := ctx.Deadline(); ok {
		_ = s.conn.SetWriteDeadline(d)
	}
	if err := s.write(all); err != nil {
		s.drop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("write to syslog receiver: %w", err)
	}
	return nil
}

func (s *syslog) write(all [][]byte) error {
	if s.cfg.Network == "udp" {
		for _, m := range all {
			if _, err := s.conn.Write(m); err != nil {
				return err
			}
		}
		return nil
	}
	var b bytes.Buffer
	for _, m := range all {
		b.WriteString(strconv.Itoa(len(m)) + " ")
		b.Write(m)
	}
	_, err := s.conn.Write(b.Bytes())
	return err
}

// closed tells whether the receiver has closed the connection: it never sends anything else.
func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *syslog) dial(ctx context.Context) (err error) {
	switch s.cfg.Network {
	case "tls":
		s.conn, err = (&tls.Dialer{Config: s.tls}).DialContext(ctx, "tcp", s.cfg.Address)
	default:
		s.conn, err = (&net.Dialer{}).DialContext(ctx, s.cfg.Network, s.cfg.Address)
	}
	if err != nil {
		s.conn = nil
	}
	return err
}

func (s *syslog) drop() {
	_ = s.conn.Close()
	s.conn = nil
}

// message is <PRI>1 TIME HOST APP - MSGID [gyre@32473 ...] BOM TEXT.
func (s *syslog) message(m *notify.Message) ([]byte, error) {
	a := m.Alert
	head := fmt.Sprintf("<%d>1 %s %s %s - %s [gyre@32473 id=\"%s\" rule=\"%s\" priority=\"%s\"] ", s.cfg.Facility*8+int(a.Priority), a.When().Format("2006-01-02T15:04:05.000000Z07:00"),
		token(a.Node, 255), token(s.cfg.AppName, 48), token(a.Event, 32), a.ID, param(a.Rule), a.Priority)
	if s.cfg.Format == "text" {
		return []byte(notify.CutBytes(head+"\xef\xbb\xbf"+format.Printable(a.Rule)+": "+format.Printable(a.Output), s.cfg.MaxBytes)), nil
	}
	f := format.Format(s.cfg.Format)
	body, err := f.Append(nil, m)
	if err == nil && len(head)+len(body) > s.cfg.MaxBytes && f == format.Gyre {
		body, err = format.Fit(a, s.cfg.MaxBytes-len(head))
	}
	if err != nil {
		return nil, err
	}
	return []byte(notify.CutBytes(head+string(body), s.cfg.MaxBytes)), nil
}

// token makes a header field: printable ASCII without blanks, "-" if there is none.
func token(s string, n int) string {
	t := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if t == "" {
		return "-"
	}
	return t[:min(len(t), n)]
}

// param escapes the value of a parameter (RFC 5424, section 6.3.3).
func param(s string) string {
	return strings.NewReplacer(`"`, `\"`, `\`, `\\`, `]`, `\]`).Replace(notify.CutBytes(format.Printable(s), 128))
}

// Close closes the connection.
func (s *syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}
