// Command gyre-evaluator evaluates rules on enriched events.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/backtest"
)

const name = "gyre-evaluator"

// settings are the sections of the configuration file that this program reads.
type settings struct {
	nats      bus.Config
	evaluator evaluator.Config
	admin     daemon.AdminConfig
	log       daemon.LogConfig
}

func (s *settings) sections() map[string]any {
	return map[string]any{"nats": &s.nats, "evaluator": &s.evaluator, "admin": &s.admin, "log": &s.log}
}

type sets []string

func (s *sets) String() string     { return fmt.Sprint(*s) }
func (s *sets) Set(v string) error { *s = append(*s, v); return nil }

// garbagePercent lets the heap grow to three times of what is used before garbage is collected. More would be felt where the
// windows of correlation are large.
const garbagePercent = 200

func main() {
	daemon.CollectGarbageAt(garbagePercent)
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	s := settings{nats: bus.DefaultConfig(), evaluator: evaluator.DefaultConfig(), admin: daemon.DefaultAdminConfig(), log: daemon.DefaultLogConfig()}
	s.nats.Name = name
	var set sets
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	file := flags.String("config", "", "configuration file")
	print := flags.Bool("print-defaults", false, "print the default configuration and exit")
	version := flags.Bool("version", false, "print the version and exit")
	flags.Var(&set, "set", "section.key=value, over the file and the environment; may be repeated")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	switch {
	case *version:
		fmt.Println(daemon.Version())
		return 0
	case *print:
		return exit(daemon.PrintDefaults(os.Stdout, s.sections()))
	}
	err := daemon.Load(daemon.LoadOptions{
		Path: *file, EnvPrefix: "GYRE", Sets: set, Sections: s.sections(), Known: []string{"collector", "enricher", "sink", "up", "embedded"},
	})
	if err != nil {
		return exit(err)
	}
	log, _ := daemon.NewLog(os.Stderr, s.log)
	d := daemon.New(daemon.Options{Name: name, Log: log, Admin: s.admin})
	return exit(d.Serve(context.Background(), s.start))
}

func exit(err error) int {
	if err != nil {
		daemon.PrintError(os.Stderr, err)
		return 1
	}
	return 0
}

// start assembles the program.
func (s *settings) start(ctx context.Context, d *daemon.Daemon) error {
	b, err := bus.Connect(ctx, s.nats, d.Log.With(daemon.KeyComponent, "bus"), d.Metrics)
	if err != nil {
		return err
	}
	d.OnStop("bus", func(context.Context) error { b.Close(); return nil })
	if err := b.Ensure(ctx); err != nil {
		return err
	}
	e, err := evaluator.New(s.evaluator, b, d.Log.With(daemon.KeyComponent, "evaluator"), d.Metrics)
	if err != nil {
		return err
	}
	d.Ready("bus", b.Ready)
	d.Ready("evaluator", e.Ready)
	d.Go("evaluator", e.Run)
	d.Go("replays", backtest.NewServer(b, d.Log.With(daemon.KeyComponent, "replays")).Run)
	return nil
}
