// Package bustest gives tests a real JetStream server in the test's own directory.
package bustest

import (
	"io"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/embedded"
)

// Server is a server that a test may stop and start.
type Server struct {
	t   testing.TB
	cfg embedded.Config
	*embedded.Server
}

// Log discards what is logged.
func Log() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// Start starts a server that listens on a free loopback port; it is stopped with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	cfg := embedded.DefaultConfig()
	cfg.Dir = t.TempDir()
	s := &Server{t: t, cfg: cfg}
	s.start()
	t.Cleanup(func() {
		if s.Server != nil {
			s.Stop()
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
	s.Server = srv
}

// Down stops the server; its data stays.
func (s *Server) Down() {
	s.t.Helper()
	s.cfg.Listen, s.cfg.Token = s.URL()[len("nats://"):], s.Token()
	s.Stop()
	s.Server = nil
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
