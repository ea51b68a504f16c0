// Package embedded runs a real ClickHouse server on loopback as a supervised child
// process: `clickhouse server` if one is on PATH, else the library that [Fetch] gets.
//
// The child is a process of its own so that a crash of the engine does not take the
// pipeline with it; it is started again on the same ports.
package embedded

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/daemon/child"
)

const user = "gyre"

// Config describes the server.
type Config struct {
	// Dir holds data, configuration and lock.
	Dir string `yaml:"-"`
	// Lib is the library to use instead of looking for one.
	Lib string `yaml:"lib" doc:"path of libchdb.so; empty looks for clickhouse on PATH, then in the cache"`
}

// Server is a running server.
type Server struct {
	child    *child.Child
	lock     *os.File
	password string
	tcp      string
	http     string
	what     string
}

// Start starts a server and waits until it answers.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "data"), 0o700); err != nil {
		return nil, fmt.Errorf("make ClickHouse directory: %w", err)
	}
	lock, err := takeLock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{lock: lock, password: rand.Text()}
	if err := s.start(ctx, cfg, log); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, daemon.Hint(fmt.Errorf("%w: %s", ErrInUse, dir), "stop the other instance, or choose another --data-dir")
	}
	return f, nil
}

func (s *Server) start(ctx context.Context, cfg Config, log *slog.Logger) error {
	var err error
	if s.tcp, s.http, err = freePorts(); err != nil {
		return err
	}
	spec, err := s.command(cfg)
	if err != nil {
		return err
	}
	spec.Log, spec.Ready, spec.Dir = log, s.ping, cfg.Dir
	spec.StopTimeout = 4 * time.Second
	spec.Level = func(line string) slog.Level {
		if strings.Contains(line, "<Fatal>") {
			return slog.LevelWarn
		}
		return slog.LevelDebug
	}
	if s.child, err = child.Supervise(ctx, spec); err != nil {
		return fmt.Errorf("start embedded ClickHouse: %w", err)
	}
	return nil
}

// command decides which server to run.
func (s *Server) command(cfg Config) (child.Spec, error) {
	spec := child.Spec{Name: "clickhouse", Env: append(os.Environ(), "GYRE_CLICKHOUSE_PASSWORD="+s.password)}
	sum := sha256.Sum256([]byte(s.password))
	config, err := configFile(cfg.Dir, hex.EncodeToString(sum[:]))
	if err != nil {
		return spec, err
	}
	if bin, err := exec.LookPath("clickhouse"); err == nil && cfg.Lib == "" {
		if err := checkVersion(bin); err != nil {
			return spec, err
		}
		s.what = bin
		spec.Path = bin
		spec.Args = []string{
			"server", "--config-file=" + config, "--", "--path=" + filepath.Join(cfg.Dir, "data") + "/", "--listen_host=127.0.0.1", "--tcp_port=" + s.tcp,
			"--http_port=" + s.http, "--mysql_port=0", "--postgresql_port=0", "--interserver_http_port=0",
		}
		return spec, nil
	}
	lib := cfg.Lib
	if lib == "" {
		if lib, err = FindLib(); err != nil {
			return spec, err
		}
	} else if _, err := os.Stat(lib); err != nil {
		return spec, daemon.Hint(fmt.Errorf("%w: %w", ErrNone, err), "correct clickhouse.embedded.lib, or leave it empty")
	}
	self, err := os.Executable()
	if err != nil {
		return spec, fmt.Errorf("find own program: %w", err)
	}
	s.what, spec.Path = lib, self
	spec.Args = []string{ChildArg, lib, filepath.Join(cfg.Dir, "data"), config, s.tcp, s.http}
	return spec, nil
}

// checkVersion refuses a server on PATH that is too old.
func checkVersion(bin string) error {
	out, err := exec.Command(bin, "server", "--version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", bin, err)
	}
	return CheckVersion(string(out), bin)
}

// Floor is the oldest version of ClickHouse that is supported, major and minor.
const (
	FloorMajor = 25
	FloorMinor = 3
)

// CheckVersion returns [ErrTooOld], naming the server and its version, if the first
// number of the form N.N in text is under 25.3.
func CheckVersion(text, what string) error {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) {
		parts := strings.Split(word, ".")
		if len(parts) < 2 {
			continue
		}
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 != nil || err2 != nil {
			continue
		}
		if major < FloorMajor || major == FloorMajor && minor < FloorMinor {
			return daemon.Hint(fmt.Errorf("%w: %s is version %s, at least %d.%d is needed", ErrTooOld, what, word, FloorMajor, FloorMinor),
				"upgrade it, take it off PATH, or name another server with clickhouse.dsn")
		}
		return nil
	}
	return fmt.Errorf("%w: %s does not say its version: %q", ErrTooOld, what, text)
}

// freePorts finds two free loopback ports.
func freePorts() (string, string, error) {
	var ports []string
	var open []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", fmt.Errorf("find a free port: %w", err)
		}
		open = append(open, l)
		_, p, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return "", "", err
		}
		ports = append(ports, p)
	}
	for _, l := range open {
		if err := l.Close(); err != nil {
			return "", "", err
		}
	}
	return ports[0], ports[1], nil
}

func (s *Server) ping(ctx context.Context) error {
	if err := post(s.http, s.password, "SELECT 1"); err != nil {
		return err
	}
	d := net.Dialer{}
	c, err := d.DialContext(ctx, "tcp", "127.0.0.1:"+s.tcp)
	if err != nil {
		return err
	}
	return c.Close()
}

// DSN is how a client of this host reaches the server; it holds the password.
func (s *Server) DSN() string {
	u := url.URL{Scheme: "clickhouse", Host: "127.0.0.1:" + s.tcp, Path: "/default", User: url.UserPassword(user, s.password)}
	return u.String()
}

// What names the program or library that runs.
func (s *Server) What() string { return s.what }

// PID is the child's process id, 0 while it is being started again.
func (s *Server) PID() int { return s.child.State().PID }

// Ready tells whether the server answers.
func (s *Server) Ready() error { return s.child.Ready() }

// Watch returns when ctx ends, or with an error when the server cannot be kept running.
func (s *Server) Watch(ctx context.Context) error { return s.child.Watch(ctx) }

// Stop stops the server cleanly.
func (s *Server) Stop(ctx context.Context) error {
	return errors.Join(s.child.Stop(ctx), s.lock.Close())
}
