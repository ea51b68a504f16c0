// Package embedded is a nats-server with JetStream in this process, with file
// storage in a directory of its own. It is the same server that a fleet runs.
package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gyre-sec/gyre/daemon"
)

// Errors that callers tell apart.
var (
	// ErrInUse: another server holds the directory.
	ErrInUse = errors.New("data directory is in use")
	// ErrPort: the address is taken or not allowed.
	ErrPort = errors.New("address is not available")
)

// Config describes the server.
type Config struct {
	Dir string `yaml:"-"`
	// Listen is host:port; port 0 takes a free one, "" listens not at all.
	Listen string `yaml:"listen" doc:"address of the embedded NATS server, for the command line and other programs on this host; port 0 takes a free one"`
	// Token is what other programs authenticate with; "" makes a random one.
	Token        string        `yaml:"-"`
	MaxStore     daemon.Bytes  `yaml:"max_store" doc:"disk that all streams of the embedded server may take"`
	SyncInterval time.Duration `yaml:"sync_interval" doc:"how often streams are synced to disk; a power cut may lose what was acknowledged since"`
}

// DefaultConfig listens on a free loopback port. It syncs every 10 s: the server's own
// default of 2 minutes loses more at a power cut, and syncing each message costs nine tenths of the throughput.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:0", MaxStore: 32 << 30, SyncInterval: 10 * time.Second}
}

// Server is a running server.
type Server struct {
	s     *server.Server
	lock  *os.File
	token string
}

// maxPayload is the largest message, in bytes.
const maxPayload = 8 << 20

// Start starts a server and waits until it takes connections.
func Start(cfg Config, log *slog.Logger) (*Server, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make nats directory: %w", err)
	}
	lock, err := takeLock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	e := &Server{lock: lock, token: cfg.Token}
	if e.token == "" {
		e.token = rand.Text()
	}
	if err := e.start(cfg, log); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return e, nil
}

func (e *Server) start(cfg Config, log *slog.Logger) error {
	opts := &server.Options{
		ServerName: "gyre-embedded", JetStream: true, StoreDir: filepath.Join(cfg.Dir, "jetstream"), JetStreamMaxStore: int64(cfg.MaxStore), JetStreamMaxMemory: 256 << 20,
		SyncInterval: cfg.SyncInterval, MaxPayload: maxPayload, NoSigs: true, DontListen: cfg.Listen == "", Authorization: "", NoSystemAccount: false,
	}
	if cfg.Listen != "" {
		host, port, err := listenAddr(cfg.Listen)
		if err != nil {
			return err
		}
		opts.Host, opts.Port, opts.Authorization = host, port, e.token
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configure embedded nats: %w", err)
	}
	s.SetLoggerV2(&logger{log}, false, false, false)
	s.Start()
	e.s = s
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return fmt.Errorf("start embedded nats in %s: not ready after 20 s", cfg.Dir)
	}
	return nil
}

// listenAddr checks that the address can be bound, so that the error names it.
func listenAddr(addr string) (string, int, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrPort, err)
	}
	a, ok := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return "", 0, err
	}
	if !ok {
		return "", 0, fmt.Errorf("%w: %s is no TCP address", ErrPort, addr)
	}
	return a.IP.String(), a.Port, nil
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s is locked by another process", ErrInUse, filepath.Dir(path))
	}
	return f, nil
}

// InProcessConn connects to the server without a socket.
func (e *Server) InProcessConn() (net.Conn, error) { return e.s.InProcessConn() }

// URL is where other programs of this host reach the server, "" if it does not listen.
func (e *Server) URL() string {
	if a, ok := e.s.Addr().(*net.TCPAddr); ok && a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Token is what they authenticate with.
func (e *Server) Token() string { return e.token }

// Stop stops the server and waits until its files are closed.
func (e *Server) Stop() {
	e.s.Shutdown()
	e.s.WaitForShutdown()
	_ = e.lock.Close() // releases the lock; there is nothing to write
}

// logger passes the server's log on.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(f string, a ...any) { l.log.Debug("nats server", "msg", fmt.Sprintf(f, a...)) }

func (l *logger) Warnf(f string, a ...any) { l.log.Warn("nats server", "msg", fmt.Sprintf(f, a...)) }

func (l *logger) Fatalf(f string, a ...any) { l.log.Error("nats server", "msg", fmt.Sprintf(f, a...)) }

func (l *logger) Errorf(f string, a ...any) { l.log.Error("nats server", "msg", fmt.Sprintf(f, a...)) }
func (l *logger) Debugf(string, ...any)     {}
func (l *logger) Tracef(string, ...any)     {}
