package email

import (
	"crypto/tls"
	"io"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// server is a mail server that takes mail after STARTTLS and a login.
type server struct {
	mu     sync.Mutex
	mails  []string
	refuse error // of DATA
	addr   string
	ca     *notifytest.CA
}

type session struct {
	s    *server
	in   bool
	from string
	to   []string
}

func (*session) Reset()                   {}
func (*session) Logout() error            { return nil }
func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "u" || password != notifytest.Secret {
			return smtp.ErrAuthFailed
		}
		c.in = true
		return nil
	}), nil
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	if !c.in {
		return smtp.ErrAuthRequired
	}
	c.from = from
	return nil
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == "nobody@example.org" {
		return &smtp.SMTPError{Code: 550, Message: "no such user"}
	}
	c.to = append(c.to, to)
	return nil
}

func (c *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.refuse != nil {
		return c.s.refuse
	}
	c.s.mails = append(c.s.mails, string(b))
	return nil
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{ca: notifytest.NewCA(t)}
	cert, err := tls.LoadX509KeyPair(s.ca.Issue("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{s: s}, nil }))
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	srv.MaxMessageBytes = 4 << 20
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return s
}

func (s *server) settings(addr string) *Config {
	c := Default()
	c.Server, c.From, c.To, c.User, c.Password, c.CAFile = addr, "gyre@example.org", []string{"soc@example.org"}, "u", daemon.NewSecret(notifytest.Secret), s.ca.File
	return c
}

func (s *server) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.mails
	s.mails = nil
	return out
}

// body decodes a mail.
func body(t testing.TB, raw string) (*netmail.Message, string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(decoder(m))
	if err != nil {
		t.Fatal(err)
	}
	return m, strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestEmail(t *testing.T) {
	s := start(t)
	n := notifytest.Open(t, s.settings(s.addr), notifytest.Env(t.Output()))
	send := func(msgs ...notify.Message) error { return n.Notify(t.Context(), msgs) }
	m := notifytest.Message()
	for range 2 {
		if err := send(m); err != nil {
			t.Fatal(err)
		}
	}
	mails := s.take()
	first, text := body(t, mails[0])
	second, _ := body(t, mails[1])
	if first.Header.Get("Subject") != "[critical] Read sensitive file" || first.Header.Get("To") != "<soc@example.org>" || !strings.Contains(text, "<b>*read*</b>") || strings.ContainsRune(text, 0x1b) {
		t.Errorf("%v\n%s", first.Header, text)
	}
	if id := first.Header.Get("Message-Id"); id != "<"+m.Alert.ID.String()+"@gyre>" || id != second.Header.Get("Message-Id") {
		t.Errorf("id %q", id)
	}
	lines := *m.Alert
	lines.Rule = "x\r\nBcc: all@example.org"
	if err := send(notify.Message{Alert: &lines, Severity: "critical"}); err != nil {
		t.Fatal(err)
	}
	if one, _ := body(t, s.take()[0]); one.Header.Get("Bcc") != "" || !strings.HasPrefix(one.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("a line break in a rule's name: %v", one.Header)
	}
	a := *m.Alert
	a.Rule, a.Output = "x\r\nBcc: all@example.org", strings.Repeat("é\n.\n", 300_000)
	if err := send(notify.Message{Alert: &a, Severity: "critical"}, m); err != nil {
		t.Fatal(err)
	}
	big, text := body(t, s.take()[0])
	if big.Header.Get("Bcc") != "" || big.Header.Get("Subject") != "2 alerts" || len(text) > 4*maxText {
		t.Errorf("%v, %d bytes", big.Header, len(text))
	}
}

func TestErrors(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name      string
		set       func(*Config)
		refuse    error
		permanent bool
	}{
		{"wrong password", func(c *Config) { c.Password = daemon.NewSecret("wrong") }, nil, false},
		{"unknown recipient", func(c *Config) { c.To = []string{"nobody@example.org"} }, nil, false},
		{"unknown authority", func(c *Config) { c.CAFile = "" }, nil, false},
		{"content refused", func(*Config) {}, &smtp.SMTPError{Code: 554, Message: "spam " + notifytest.Secret}, true},
		{"busy", func(*Config) {}, &smtp.SMTPError{Code: 451, Message: "later " + notifytest.Secret}, false},
		{"nobody listens", func(c *Config) { c.Server = "127.0.0.1:1" }, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.mu.Lock()
			s.refuse = tt.refuse
			s.mu.Unlock()
			c := s.settings(s.addr)
			tt.set(c)
			err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
			if err == nil || bus.IsPermanent(err) != tt.permanent || strings.Contains(err.Error(), notifytest.Secret) {
				t.Errorf("got %v", err)
			}
			if len(s.take()) > 0 {
				t.Error("a mail was sent")
			}
		})
	}
}

func TestValidate(t *testing.T) {
	ok := Config{Server: "h:25", TLS: "none", From: "a@b", To: []string{"c@d"}}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, set := range []func(*Config){func(c *Config) { c.Server = "h" }, func(c *Config) { c.TLS = "x" }, func(c *Config) { c.From = "x" }, func(c *Config) { c.To = nil }, func(c *Config) { c.Password = daemon.NewSecret("p") }, func(c *Config) { c.Server = "h:smtpx" }} {
		c := ok
		set(&c)
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func decoder(m *netmail.Message) io.Reader {
	if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		return quotedprintable.NewReader(m.Body)
	}
	return m.Body
}
