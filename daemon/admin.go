package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminConfig is the user's part of the settings of an [Admin] server.
type AdminConfig struct {
	Addr  string `yaml:"addr" doc:"Address of /healthz, /readyz, /metrics and /version; port 0 takes a free port, empty serves nothing."`
	Debug bool   `yaml:"debug" doc:"Serve /debug/pprof and /debug/config also when the address is not loopback."`
}

// DefaultAdminConfig listens on loopback with a free port.
func DefaultAdminConfig() AdminConfig { return AdminConfig{Addr: "127.0.0.1:0"} }

// Validate says whether the address can be one.
func (c AdminConfig) Validate() error {
	if c.Addr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return Hint(fmt.Errorf("parse admin address: %w", err), "write host:port, such as 127.0.0.1:9100")
	}
	return nil
}

// AdminOptions are the parts an [Admin] server shows.
type AdminOptions struct {
	Gatherer prometheus.Gatherer
	Ready    *Readiness
	Config   func(io.Writer) error // Config is for /debug/config; nil leaves it out.
	Log      *slog.Logger
}

// Admin is the HTTP server for operators: /healthz, /readyz, /metrics, /version, and, on loopback or when asked for,
// /debug/pprof/ and /debug/config. It has no authentication.
type Admin struct {
	cfg  AdminConfig
	opts AdminOptions

	mu sync.Mutex
	ln net.Listener
}

// NewRegistry returns a registry with the collectors for the Go runtime and the process, and gyre_build_info.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	v := Version()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "gyre_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": v.Version, "revision": v.Revision, "go": v.Go},
	})
	build.Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// NewAdmin returns a server that does not listen yet.
func NewAdmin(cfg AdminConfig, o AdminOptions) *Admin {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = &Readiness{}
	}
	if o.Gatherer == nil {
		o.Gatherer = NewRegistry()
	}
	return &Admin{cfg: cfg, opts: o}
}

// Listen takes the address and returns the one it got. Follow it by [Admin.Run], which closes it.
func (a *Admin) Listen(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", a.cfg.Addr)
	if err != nil {
		hint := "set another admin address; port 0 takes a free port"
		if errors.Is(err, syscall.EACCES) {
			hint = "ports below 1024 need privilege: set a higher port"
		}
		return "", Hint(fmt.Errorf("listen for admin requests: %w", err), hint)
	}
	a.mu.Lock()
	a.ln = ln
	a.mu.Unlock()
	return ln.Addr().String(), nil
}

// Addr is the address the server listens on, or "".
func (a *Admin) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ln == nil {
		return ""
	}
	return a.ln.Addr().String()
}

// Run serves until ctx ends, lets running requests finish for a second, and closes the address.
func (a *Admin) Run(ctx context.Context) error {
	if a.Addr() == "" {
		if _, err := a.Listen(ctx); err != nil {
			return err
		}
	}
	srv := &http.Server{
		Handler:           a.handler(loopback(a.Addr())),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a CPU profile takes 30s unless asked otherwise
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.opts.Log.Handler(), slog.LevelDebug),
	}
	a.opts.Log.Info("admin server listens", KeyAddr, a.Addr())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve admin requests: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close() // a profile in progress must not hold up the stop
	}
	<-served
	return nil
}

// loopback says whether only this machine can reach the address.
func loopback(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func (a *Admin) handler(local bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, Version()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.opts.Gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	if !local && !a.cfg.Debug {
		return mux
	}
	debug := http.NewServeMux()
	debug.HandleFunc("/debug/pprof/", pprof.Index)
	debug.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	debug.HandleFunc("/debug/pprof/profile", pprof.Profile)
	debug.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	debug.HandleFunc("/debug/pprof/trace", pprof.Trace)
	if a.opts.Config != nil {
		debug.HandleFunc("GET /debug/config", a.config)
	}
	mux.Handle("/debug/", sameHost(debug, local && !a.cfg.Debug))
	return mux
}

// sameHost refuses requests for a host name other than localhost: a web page could otherwise read a loopback server
// by giving its own name the address 127.0.0.1.
func sameHost(next http.Handler, on bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if _, err := netip.ParseAddr(host); on && err != nil && host != "localhost" {
			http.Error(w, "use localhost or an IP address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	parts, ok := a.opts.Ready.Check()
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, struct {
		Ready bool         `json:"ready"`
		Parts []PartStatus `json:"parts"`
	}{ok, parts})
}

func (a *Admin) config(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := a.opts.Config(&b); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = b.WriteTo(w)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}
