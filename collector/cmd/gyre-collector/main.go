// Command gyre-collector runs the collector of one node.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector"
	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/collector/privilege"
	"github.com/gyre-sec/gyre/daemon"
)

const name = "gyre-collector"

// settings are the sections of the configuration file that this program reads.
type settings struct {
	nats      bus.Config
	collector collector.Config
	admin     daemon.AdminConfig
	log       daemon.LogConfig
}

func (s *settings) sections() map[string]any {
	return map[string]any{"nats": &s.nats, "collector": &s.collector, "admin": &s.admin, "log": &s.log}
}

type sets []string

func (s *sets) String() string     { return fmt.Sprint(*s) }
func (s *sets) Set(v string) error { *s = append(*s, v); return nil }

func main() {
	if code, is := container.HelperMain(privilege.DropHelper); is {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	s := settings{nats: bus.DefaultConfig(), collector: collector.DefaultConfig(), admin: daemon.DefaultAdminConfig(), log: daemon.DefaultLogConfig()}
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
		Path: *file, EnvPrefix: "GYRE", Sets: set, Sections: s.sections(), Known: []string{"enricher", "evaluator", "sink", "up"},
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
	b, err := bus.ConnectLater(ctx, s.nats, d.Log.With(daemon.KeyComponent, "bus"), d.Metrics)
	if err != nil {
		return err
	}
	d.OnStop("bus", func(context.Context) error { b.Close(); return nil })
	d.Go("streams", b.EnsureLater)
	src, err := collector.Open(s.collector)
	if err != nil {
		return err
	}
	c, err := collector.New(s.collector, src, b, d.Log.With(daemon.KeyComponent, "collector"), d.Metrics)
	if err != nil {
		_ = src.Close() // the first error is the one to tell
		return err
	}
	if s.collector.ActionsPolicy != "" {
		d.OnReload("actions policy", c.ReloadActions)
	}
	if s.collector.Source == "live" && s.collector.Containers.Enabled && s.collector.Containers.Helper {
		h, err := container.StartHelper(s.collector.Containers, d.Log.With(daemon.KeyComponent, "containers"))
		if err != nil {
			return errors.Join(daemon.Hint(err, "set collector.containers.helper: false to do without a process of its own"), src.Close())
		}
		c.UseHelper(h)
	}
	if s.collector.Drop && s.collector.Source == "live" {
		left, err := privilege.Drop(privilege.Options{Signal: s.collector.ActionsPolicy != ""})
		if err != nil {
			return errors.Join(daemon.Hint(fmt.Errorf("give up privileges: %w", err), "set collector.drop_privileges: false to run with all of them"), src.Close())
		}
		d.Log.Info("privileges given up", "name", strings.Join(left, " "))
	}
	d.Ready("bus", b.Ready)
	d.Ready("collector", c.Ready)
	d.Go("collector", c.Run)
	return nil
}
