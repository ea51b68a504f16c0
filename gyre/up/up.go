package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/embedded"
	"github.com/gyre-sec/gyre/collector"
	"github.com/gyre-sec/gyre/collector/probe"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/gyre/instance"
	"github.com/gyre-sec/gyre/sink"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	chserver "github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// Options are what the command line says.
type Options struct {
	DataDir     string
	NoCollector bool
	// ExternalNATS and ExternalClickHouse: use the servers of the configuration instead of embedded ones.
	ExternalNATS, ExternalClickHouse bool
	// Out gets alerts, Banner what is said at the start.
	Out, Banner io.Writer
}

// Run runs the pipeline until ctx ends or a signal comes.
func Run(ctx context.Context, cfg *Config, o Options, log *slog.Logger) error {
	if err := check(cfg, o); err != nil {
		return err
	}
	lock, err := instance.Acquire(o.DataDir)
	if err != nil {
		return err
	}
	u := &pipeline{cfg: cfg, o: o, lock: lock, info: instance.Info{PID: os.Getpid(), Started: time.Now().UTC()}}
	d := daemon.New(daemon.Options{
		Name: "gyre", Log: log, Admin: cfg.Admin, StopTimeout: 5 * time.Second, Config: func(w io.Writer) error { return daemon.Print(w, cfg.Sections()) },
	})
	return errors.Join(d.Serve(ctx, u.start), lock.Release())
}

// check finds out what cannot work before anything is started.
func check(cfg *Config, o Options) error {
	if o.NoCollector || cfg.Collector.Source != "live" {
		return nil
	}
	if _, err := probe.Detect(); err != nil {
		hint := daemon.Remedy(err)
		return daemon.Hint(fmt.Errorf("cannot watch this host: %w", err), hint+"; or run the rest of the pipeline with --no-collector, or play a recording with --source recorded:FILE")
	}
	return nil
}

type pipeline struct {
	cfg   *Config
	o     Options
	lock  *instance.Lock
	info  instance.Info
	bus   *bus.Bus
	store *clickhouse.Store
	ch    *chserver.Server
}

// start assembles everything, from the end of the flow to its start, so that each stage finds the next one ready.
func (u *pipeline) start(ctx context.Context, d *daemon.Daemon) error {
	for _, part := range []func(context.Context, *daemon.Daemon) error{u.startNATS, u.startClickHouse, u.startStages, u.startCollector} {
		if err := part(ctx, d); err != nil {
			return err
		}
	}
	u.info.Admin = d.AdminAddr()
	if err := u.lock.Publish(u.info); err != nil {
		return err
	}
	return nil
}

func (u *pipeline) startNATS(ctx context.Context, d *daemon.Daemon) error {
	log := d.Log.With(daemon.KeyComponent, "nats")
	if u.o.ExternalNATS {
		b, err := bus.Connect(ctx, u.cfg.NATS, log, d.Metrics)
		if err != nil {
			return err
		}
		u.bus, u.info.NATS = b, u.cfg.NATS.URL
		if u.cfg.NATS.Token.IsSet() {
			if u.info.NATSToken, err = u.cfg.NATS.Token.Resolve(); err != nil {
				return err
			}
		}
	} else {
		cfg := u.cfg.Up.NATS
		cfg.Dir = filepath.Join(u.o.DataDir, "nats")
		srv, err := embedded.Start(cfg, log)
		if err != nil {
			if errors.Is(err, embedded.ErrPort) {
				return daemon.Hint(err, "free the address, or choose another with --set up.nats.listen=127.0.0.1:PORT")
			}
			return err
		}
		d.OnStop("nats-server", func(context.Context) error { srv.Stop(); return nil })
		b, err := bus.ConnectInProcess(ctx, srv, u.cfg.NATS, log, d.Metrics)
		if err != nil {
			return err
		}
		u.bus, u.info.NATS, u.info.NATSToken = b, srv.URL(), srv.Token()
	}
	d.OnStop("nats", func(context.Context) error { u.bus.Close(); return nil })
	d.Ready("nats", u.bus.Ready)
	return u.bus.Ensure(ctx)
}

func (u *pipeline) startClickHouse(ctx context.Context, d *daemon.Daemon) error {
	cfg := u.cfg.Sink.ClickHouse
	if !u.o.ExternalClickHouse {
		if cfg.Cluster != "" {
			return daemon.Hint(fmt.Errorf("sink.clickhouse.cluster is %s, and the embedded ClickHouse is one server", cfg.Cluster), "name a server of the cluster in sink.clickhouse.dsn, or leave cluster empty")
		}
		own := u.cfg.Up.ClickHouse
		own.Dir = filepath.Join(u.o.DataDir, "clickhouse")
		srv, err := chserver.Start(ctx, own, d.Log.With(daemon.KeyComponent, "clickhouse"))
		if errors.Is(err, chserver.ErrNone) && own.Lib == "" {
			fmt.Fprintln(u.o.Banner, "no ClickHouse here: fetching the embedded one with npm (178 MB, once)")
			if _, err = chserver.Fetch(ctx, d.Log); err == nil {
				srv, err = chserver.Start(ctx, own, d.Log.With(daemon.KeyComponent, "clickhouse"))
			}
		}
		if err != nil {
			return err
		}
		u.ch = srv
		d.OnStop("clickhouse-server", srv.Stop)
		d.Go("clickhouse-watch", srv.Watch)
		d.Ready("clickhouse", srv.Ready)
		cfg.DSN = daemon.NewSecret(srv.DSN())
		u.info.ClickHousePID = srv.PID()
	}
	dsn, err := cfg.DSN.Resolve()
	if err != nil {
		return err
	}
	u.info.ClickHouse = dsn
	if u.store, err = clickhouse.Prepare(cfg); err != nil {
		return err
	}
	d.OnStop("clickhouse", func(context.Context) error { return u.store.Close() })
	if err = u.store.Check(ctx); err == nil {
		err = u.store.Migrate(ctx)
	}
	if err != nil { // the sink tries again; everything else works meanwhile
		d.Log.Warn("alerts are not stored", "err", err, "remedy", daemon.Remedy(err))
	}
	return nil
}

// storeVersion says which ClickHouse stores alerts.
func (u *pipeline) storeVersion() string {
	if v := u.store.Version(); v != "" {
		return v
	}
	return "not reached yet"
}

func (u *pipeline) startStages(_ context.Context, d *daemon.Daemon) error {
	s, err := sink.New(u.cfg.Sink, u.bus, u.store, u.o.Out, d.Log.With(daemon.KeyComponent, "sink"), d.Metrics)
	if err != nil {
		return err
	}
	ev, err := evaluator.New(u.cfg.Evaluator, u.bus, d.Log.With(daemon.KeyComponent, "evaluator"), d.Metrics)
	if err != nil {
		return err
	}
	en, err := enricher.New(u.cfg.Enricher, u.bus, d.Log.With(daemon.KeyComponent, "enricher"), d.Metrics)
	if err != nil {
		return err
	}
	if err := d.Metrics.Register(rulesInfo{ev}); err != nil {
		return err
	}
	d.Go("sink", s.Run)
	d.Go("evaluator", ev.Run)
	d.Go("replays", backtest.NewServer(u.bus, d.Log.With(daemon.KeyComponent, "replays")).Run)
	d.Go("enricher", en.Run)
	d.Ready("sink", s.Ready)
	d.Ready("store", s.StoreReady)
	d.Ready("evaluator", ev.Ready)
	d.Ready("enricher", en.Ready)
	u.banner(ev.Rules())
	return nil
}

func (u *pipeline) startCollector(_ context.Context, d *daemon.Daemon) error {
	if u.o.NoCollector {
		fmt.Fprintln(u.o.Banner, "watching  nothing on this host (--no-collector): batches from other collectors only")
		return nil
	}
	cfg := u.cfg.Collector
	// What the pipeline itself does is no news, and would feed on itself.
	cfg.ExcludePIDs = append([]uint32{uint32(os.Getpid())}, cfg.ExcludePIDs...)
	if u.ch != nil {
		cfg.ExcludePIDs = append(cfg.ExcludePIDs, uint32(u.ch.PID()))
	}
	if cfg.SpoolDir == "" {
		cfg.SpoolDir = filepath.Join(u.o.DataDir, "spool")
	}
	src, err := collector.Open(cfg)
	if err != nil {
		return err
	}
	c, err := collector.New(cfg, src, u.bus, d.Log.With(daemon.KeyComponent, "collector"), d.Metrics)
	if err != nil {
		return errors.Join(err, src.Close())
	}
	if cfg.ActionsPolicy != "" {
		d.OnReload("actions policy", c.ReloadActions)
	}
	d.Ready("collector", c.Ready)
	d.Go("collector", c.Run)
	fmt.Fprintf(u.o.Banner, "watching  %s (%s): %s\n\n", c.Node(), src.Mode(), kinds(cfg))
	return nil
}

func kinds(cfg collector.Config) string {
	if len(cfg.Capture.Kinds) == 0 {
		return "processes, files, sockets, credentials, kernel"
	}
	return fmt.Sprint(cfg.Capture.Kinds)
}

func (u *pipeline) banner(r evaluator.Info) {
	w := u.o.Banner
	where := u.o.DataDir
	fmt.Fprintf(w, "gyre %s\n", daemon.Version().Version)
	fmt.Fprintf(w, "data      %s\n", where)
	if u.ch != nil {
		fmt.Fprintf(w, "storage   ClickHouse %s (%s)\n", u.storeVersion(), u.ch.What())
	} else {
		fmt.Fprintf(w, "storage   ClickHouse %s\n", u.storeVersion())
	}
	fmt.Fprintf(w, "rules     %d loaded, digest %.19s\n", r.Count, r.Digest)
	flag := ""
	if where != instance.DefaultDir() {
		flag = " --data-dir " + where
	}
	fmt.Fprintf(w, "ask       gyre alerts%[1]s | gyre query%[1]s \"SELECT rule, count() FROM alerts GROUP BY rule\" | gyre events%[1]s | gyre status%[1]s\n", flag)
}

// rulesInfo is a metric that says which rules are in force.
type rulesInfo struct{ ev *evaluator.Evaluator }

func rulesDesc() *prometheus.Desc {
	return prometheus.NewDesc("gyre_rules_info", "Number of rules in force, by digest of the rule set and the last error of a reload.", []string{"digest", "error"}, nil)
}

// Describe sends the description.
func (rulesInfo) Describe(c chan<- *prometheus.Desc) { c <- rulesDesc() }

// Collect sends the state.
func (r rulesInfo) Collect(c chan<- prometheus.Metric) {
	i := r.ev.Rules()
	c <- prometheus.MustNewConstMetric(rulesDesc(), prometheus.GaugeValue, float64(i.Count), i.Digest, i.Error)
}
