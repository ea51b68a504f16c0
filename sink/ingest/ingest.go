package ingest

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Config says where to listen.
type Config struct {
	Listen   string        `yaml:"listen" doc:"host:port to take alerts of Falco's http_output on; empty means not at all"`
	CertFile string        `yaml:"cert_file" doc:"certificate of this server"`
	KeyFile  string        `yaml:"key_file" doc:"key of that certificate"`
	ClientCA string        `yaml:"client_ca_file" doc:"certificates of the authorities that sign the clients'"`
	Token    daemon.Secret `yaml:"token" doc:"what clients send as Authorization: Bearer, as the password of the URL, or at its end as ?token="`
}

// Validate checks the configuration. An endpoint that others can reach must know who sends.
func (c Config) Validate() error {
	if c.Listen == "" {
		return nil
	}
	var errs []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("ingest.listen is %q, want host:port", c.Listen))
	}
	if (c.CertFile == "") != (c.KeyFile == "") || c.ClientCA != "" && c.CertFile == "" {
		errs = append(errs, errors.New("ingest.cert_file and key_file go together, and client_ca_file needs them"))
	}
	if !c.local() && c.ClientCA == "" && !c.Token.IsSet() {
		errs = append(errs, daemon.Hint(errors.New("ingest.listen can be reached by others, and anybody could send alerts"), "set ingest.client_ca_file or ingest.token_file, or listen on 127.0.0.1"))
	}
	return errors.Join(errs...)
}

// local tells whether only this host can reach the endpoint.
func (c Config) local() bool {
	host, _, _ := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Server takes alerts. It answers 200 when the stream has stored one.
type Server struct {
	cfg   Config
	token string
	tls   *tls.Config
	pub   *bus.Publisher
	log   *slog.Logger
	taken *prometheus.CounterVec
	slots chan struct{}
}

// maxBody bounds a request, in bytes; maxRequests how many are read at once, the others wait.
const (
	maxBody     = 1 << 20
	maxRequests = 64
)

// New returns a Server; [Server.Run] listens.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	s := &Server{cfg: cfg, log: log, slots: make(chan struct{}, maxRequests), pub: b.NewPublisher(bus.PublisherConfig{Stage: "ingest"}), taken: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gyre_sink_ingested_total", Help: "Requests with an alert of Falco, by what became of them.",
	}, []string{"result"})}
	if err := reg.Register(s.taken); err != nil {
		return nil, fmt.Errorf("register ingest metrics: %w", err)
	}
	var err error
	if s.token, err = cfg.Token.Resolve(); err != nil {
		return nil, fmt.Errorf("ingest.token: %w", err)
	}
	if s.token = strings.TrimSpace(s.token); s.token == "" && cfg.Token.IsSet() {
		return nil, daemon.Hint(errors.New("ingest.token is empty"), "write the token into the file or variable, or set none and listen on 127.0.0.1")
	}
	if cfg.CertFile == "" {
		return s, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read ingest certificate: %w", err)
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if cfg.ClientCA != "" {
		pem, err := os.ReadFile(cfg.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("read ingest.client_ca_file: %w", err)
		}
		s.tls.ClientCAs, s.tls.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !s.tls.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ingest.client_ca_file: %s holds no certificate", cfg.ClientCA)
		}
	}
	return s, nil
}

// Run listens until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return daemon.Hint(fmt.Errorf("listen for alerts: %w", err), "free the address, or choose another with sink.ingest.listen")
	}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	s.log.Info("takes alerts of falco", "addr", l.Addr().String())
	if s.tls == nil && s.token != "" && !s.cfg.local() {
		s.log.Warn("the token and the alerts travel in clear text: set ingest.cert_file and key_file", "addr", l.Addr().String())
	}
	srv := &http.Server{Handler: s, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = srv.Shutdown(late) // what is left is cut off: Falco sees an error
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve alerts: %w", err)
	}
	return nil
}

// ServeHTTP takes one alert.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result, code, why := s.take(r)
	s.taken.WithLabelValues(result).Inc()
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if code != http.StatusOK {
		http.Error(w, why, code)
	}
}

// authorized tells whether the request carries the token.
func (s *Server) authorized(r *http.Request) bool {
	if s.token == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, basic := r.BasicAuth(); basic {
		given, ok = password, true
	}
	if !ok {
		given = r.URL.Query().Get("token")
	}
	return subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) == 1
}

func (s *Server) take(r *http.Request) (result string, code int, why string) {
	if !s.authorized(r) {
		return "unauthorized", http.StatusUnauthorized, "wrong token"
	}
	if r.Method != http.MethodPost {
		return "invalid", http.StatusMethodNotAllowed, "send alerts with POST"
	}
	ctx, cancel := context.WithTimeout(r.Context(), 8*time.Second)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return "unavailable", http.StatusServiceUnavailable, "too many requests wait"
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "invalid", http.StatusRequestEntityTooLarge, fmt.Sprintf("an alert has at most %d bytes", maxBody)
	}
	if err != nil {
		return "invalid", http.StatusBadRequest, "the request broke off"
	}
	a, err := Parse(body)
	if err != nil {
		return "invalid", http.StatusBadRequest, err.Error()
	}
	data, err := a.Marshal()
	if err != nil {
		return "invalid", http.StatusBadRequest, err.Error()
	}
	err = s.pub.Publish(ctx, bus.Message{Subject: subject.Alert(a.Priority.String(), a.RuleID, a.Node), ID: a.ID.String(), Data: data})
	switch {
	case bus.IsPermanent(err):
		return "invalid", http.StatusRequestEntityTooLarge, err.Error()
	case err != nil:
		return "unavailable", http.StatusServiceUnavailable, "the stream does not take alerts now"
	}
	return "stored", http.StatusOK, ""
}
