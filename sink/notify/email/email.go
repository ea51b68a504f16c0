// Package email sends alerts by SMTP, with STARTTLS or TLS.
package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Server   string        `yaml:"server" doc:"host:port of the mail server, such as mail.example.org:587"`
	TLS      string        `yaml:"tls" doc:"starttls, implicit (port 465), or none for a server on this host"`
	From     string        `yaml:"from" doc:"address of the sender"`
	To       []string      `yaml:"to" doc:"addresses"`
	User     string        `yaml:"user" doc:"user"`
	Password daemon.Secret `yaml:"password" doc:"password"`
	CAFile   string        `yaml:"ca_file" doc:"certificates of the authorities that sign the server's"`
	CertFile string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string        `yaml:"key_file" doc:"key of the client certificate"`
}

// Default insists on STARTTLS.
func Default() *Config { return &Config{TLS: "starttls"} }

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.Required("to", len(c.To) > 0), c.tls().Validate()}
	if _, port, err := net.SplitHostPort(c.Server); err != nil {
		errs = append(errs, fmt.Errorf("server is %q, want host:port", c.Server))
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		errs = append(errs, fmt.Errorf("server is %q, want a number for the port", c.Server))
	}
	if !slices.Contains([]string{"starttls", "implicit", "none"}, c.TLS) {
		errs = append(errs, fmt.Errorf("tls is %q, want starttls, implicit or none", c.TLS))
	}
	if c.TLS == "none" && c.Password.IsSet() {
		errs = append(errs, errors.New("a password is not sent without TLS"))
	}
	for _, a := range append([]string{c.From}, c.To...) {
		if _, err := netmail.ParseAddress(a); err != nil {
			errs = append(errs, fmt.Errorf("%q is no address", a))
		}
	}
	return errors.Join(errs...)
}

// Batch puts what comes together into one mail.
func (*Config) Batch() (int, time.Duration) { return 50, 5 * time.Second }

const (
	maxSubject = 200
	maxText    = 200_000 // characters
)

type mailer struct {
	cfg      *Config
	host     string
	port     int
	password string
	tls      *tls.Config
	render   *notify.Renderer
}

// Open reads the secrets.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	m := &mailer{cfg: c}
	var err error
	if m.password, err = c.Password.Resolve(); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if m.tls, err = c.tls().TLS(); err != nil {
		return nil, err
	}
	if m.render, err = env.Renderer(notify.DefaultTitle, notify.DefaultText, nil); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil {
		return nil, err
	}
	m.host, m.tls.ServerName = host, host
	m.port, err = strconv.Atoi(port)
	return m, err
}

// Notify sends one mail in plain text, which no reader interprets. Its Message-ID comes from the alerts: mail
// systems drop a repetition by it.
func (m *mailer) Notify(ctx context.Context, batch []notify.Message) error {
	msg, err := m.message(batch)
	if err != nil {
		return bus.Permanent(err)
	}
	opts := []mail.Option{mail.WithPort(m.port), mail.WithTLSConfig(m.tls), mail.WithoutNoop()}
	if d, ok := ctx.Deadline(); ok {
		opts = append(opts, mail.WithTimeout(max(time.Millisecond, time.Until(d))))
	}
	switch m.cfg.TLS {
	case "implicit":
		opts = append(opts, mail.WithSSL())
	case "none":
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.password != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.cfg.User), mail.WithPassword(m.password))
	}
	client, err := mail.NewClient(m.host, opts...)
	if err != nil {
		return bus.Permanent(fmt.Errorf("make mail client: %w", err))
	}
	return m.classify(ctx, client.DialAndSendWithContext(ctx, msg))
}

// classify: what the server says to the text of the mail is final; refused addresses and logins can be mended.
func (m *mailer) classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	se, ok := errors.AsType[*mail.SendError](err)
	text := err.Error()
	if m.password != "" {
		text = strings.ReplaceAll(text, m.password, "<secret>")
	}
	err = errors.New(notify.Cut(notify.Clean(text), 300))
	if ok && !se.IsTemp() && (se.Reason == mail.ErrSMTPData || se.Reason == mail.ErrSMTPDataClose) && se.ErrorCode() >= 500 {
		return bus.Permanent(err)
	}
	return daemon.Hint(err, "check server, addresses and login of the output")
}

func (m *mailer) message(batch []notify.Message) (*mail.Msg, error) {
	title, text, err := m.render.Digest(batch, maxText)
	if err != nil {
		return nil, err
	}
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.cfg.From), msg.To(m.cfg.To...)); err != nil {
		return nil, err
	}
	msg.Subject(notify.Cut(title, maxSubject))
	msg.SetMessageIDWithValue(notify.BatchKey(batch) + "@gyre")
	msg.SetDate()
	msg.SetGenHeader("X-Gyre-Priority", notify.Worst(batch).Alert.Priority.String())
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, text)
	return msg, nil
}
