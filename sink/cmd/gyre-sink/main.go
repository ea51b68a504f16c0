// Command gyre-sink stores alerts in ClickHouse and hands them to notifiers.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// garbagePercent lets the heap grow to five times of what is used before garbage is collected: a third
// of the CPU per alert at full speed (BenchmarkStore of package sink), for some 100 MiB.
const garbagePercent = 400

func main() {
	daemon.CollectGarbageAt(garbagePercent)
	os.Exit(run())
}

// run is straight-line wiring, as in the other programs.
func run() int {
	nats, cfg, logCfg, adminCfg := bus.DefaultConfig(), sink.DefaultConfig(), daemon.DefaultLogConfig(), daemon.DefaultAdminConfig()
	sections := map[string]any{"nats": &nats, "sink": &cfg, "log": &logCfg, "admin": &adminCfg}
	var load daemon.LoadOptions
	load.Sections = sections
	load.EnvPrefix = "GYRE"
	load.Known = []string{"up", "collector", "enricher", "evaluator"}
	flag.StringVar(&load.Path, "config", "", "configuration `file`")
	flag.Func("set", "set `section.key=value` of the configuration", func(s string) error { load.Sets = append(load.Sets, s); return nil })
	defaults := flag.Bool("print-defaults", false, "print the default configuration and exit")
	version := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	switch {
	case *version:
		fmt.Println("gyre-sink", daemon.Version())
		return 0
	case *defaults:
		if err := daemon.PrintDefaults(os.Stdout, sections); err != nil {
			daemon.PrintError(os.Stderr, err)
			return 1
		}
		return 0
	}
	if err := daemon.Load(load); err != nil {
		daemon.PrintError(os.Stderr, err)
		return 1
	}
	log, _ := daemon.NewLog(os.Stderr, logCfg)
	d := daemon.New(daemon.Options{Name: "gyre-sink", Log: log, Admin: adminCfg})
	err := d.Serve(context.Background(), func(ctx context.Context, d *daemon.Daemon) error {
		b, err := bus.Connect(ctx, nats, d.Log, d.Metrics)
		if err != nil {
			return err
		}
		d.OnStop("nats", func(context.Context) error { b.Close(); return nil })
		d.Ready("nats", b.Ready)
		if err := b.Ensure(ctx); err != nil {
			return err
		}
		store, err := clickhouse.Prepare(cfg.ClickHouse)
		if err != nil {
			return err
		}
		d.OnStop("clickhouse", func(context.Context) error { return store.Close() })
		s, err := sink.New(cfg, b, store, os.Stdout, d.Log, d.Metrics)
		if err != nil {
			return err
		}
		d.Ready("sink", s.Ready)
		d.Ready("store", s.StoreReady)
		d.Go("sink", s.Run)
		return nil
	})
	if err != nil {
		daemon.PrintError(os.Stderr, err)
		return 1
	}
	return 0
}
