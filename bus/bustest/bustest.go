// Package bustest gives tests a real JetStream server in the test's own directory.
package bustest

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/embedded"
)

// Server is a server that a test may stop and start.
type Server struct {
	t   testing.TB
	cfg embedded.Config

	mu  sync.Mutex
	srv *embedded.Server // nil while down
}

// Log discards what is logged.
func Log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Start starts a server that listens on a free loopback port; it is stopped with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	cfg := embedded.DefaultConfig()
	cfg.Dir = t.TempDir()
	s := &Server{t: t, cfg: cfg}
	s.start()
	t.Cleanup(func() {
		if srv := s.running(); srv != nil {
			srv.Stop()
		}
	})
	return s
}

func (s *Server) start() {
	s.t.Helper()
	srv, err := embedded.Start(s.cfg, Log())
	if err != nil {
		s.t.Fatalf("start nats: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv = srv
}

func (s *Server) running() *embedded.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// InProcessConn connects to the server without a socket; it fails while the server is down.
func (s *Server) InProcessConn() (net.Conn, error) {
	srv := s.running()
	if srv == nil {
		return nil, errors.New("the server is down")
	}
	return srv.InProcessConn()
}

// URL is where the server listens.
func (s *Server) URL() string { return s.running().URL() }

// Token is what clients authenticate with.
func (s *Server) Token() string { return s.running().Token() }

// Down stops the server; its data stays.
func (s *Server) Down() {
	s.t.Helper()
	s.cfg.Listen, s.cfg.Token = s.URL()[len("nats://"):], s.Token()
	srv := s.running()
	s.mu.Lock()
	s.srv = nil
	s.mu.Unlock()
	srv.Stop()
}

// Up starts the server again on the same address with the same data, and for in-process connections.
func (s *Server) Up() {
	s.t.Helper()
	s.start()
}

// Connect connects to the server within the process and makes the topology.
func (s *Server) Connect() *bus.Bus {
	s.t.Helper()
	b, err := bus.ConnectInProcess(s.t.Context(), s, bus.DefaultConfig(), Log(), prometheus.NewRegistry())
	if err != nil {
		s.t.Fatalf("connect: %v", err)
	}
	s.t.Cleanup(b.Close)
	if err := b.Ensure(s.t.Context()); err != nil {
		s.t.Fatalf("ensure topology: %v", err)
	}
	return b
}

// New starts a server and connects to it.
func New(t testing.TB) *bus.Bus {
	t.Helper()
	return Start(t).Connect()
}
