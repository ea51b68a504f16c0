package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/gyre/instance"
	"github.com/gyre-sec/gyre/gyre/up"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

type upFlags struct {
	dir, config, nats, clickhouse, source string
	sets                                  []string
	json, noCollector, defaults           bool
}

func (a *app) upCommand() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use: "up", Short: "Run the whole pipeline on this host", Args: cobra.NoArgs,
		Long: "Runs collector, enricher, evaluator and sink in one process, with an embedded NATS and an embedded ClickHouse,\nand writes alerts to standard output as they come. Ctrl-C stops it; the data stays.",
		RunE: func(*cobra.Command, []string) error { return a.up(f) },
	}
	c.Flags().StringVar(&f.dir, "data-dir", instance.DefaultDir(), "where streams and tables are kept")
	c.Flags().StringVarP(&f.config, "config", "c", "", "configuration file; see gyre config print-defaults")
	c.Flags().StringArrayVarP(&f.sets, "set", "o", nil, "section.key=value, over the file and the environment; may be repeated")
	c.Flags().BoolVar(&f.json, "json", false, "write alerts as JSON lines")
	c.Flags().BoolVar(&f.noCollector, "no-collector", false, "do not watch this host: run the rest")
	c.Flags().StringVar(&f.source, "source", "", "where events come from: live, or recorded:FILE")
	c.Flags().StringVar(&f.nats, "nats", "", "use this NATS instead of the embedded one")
	c.Flags().StringVar(&f.clickhouse, "clickhouse", "", "use this ClickHouse instead of the embedded one (a DSN)")
	c.Flags().BoolVar(&f.defaults, "print-defaults", false, "print the default configuration and exit")
	return c
}

func (a *app) up(f upFlags) error {
	cfg := up.DefaultConfig()
	if f.defaults {
		return daemon.PrintDefaults(a.out, cfg.Sections())
	}
	tty := isTerminal(a.out)
	cfg.Sink.Stdout.Color = tty && os.Getenv("NO_COLOR") == ""
	cfg.Sink.Stdout.JSON = f.json
	if err := daemon.Load(daemon.LoadOptions{Path: f.config, EnvPrefix: "GYRE", Sets: f.sets, Sections: cfg.Sections()}); err != nil {
		return err
	}
	o := up.Options{DataDir: f.dir, NoCollector: f.noCollector, Out: a.out, Banner: a.out}
	if cfg.Sink.Stdout.JSON {
		o.Banner = a.err
	}
	if f.source != "" {
		cfg.Collector.Source = f.source
	}
	if f.nats != "" {
		cfg.NATS.URL, o.ExternalNATS = f.nats, true
	}
	if f.clickhouse != "" {
		cfg.Sink.ClickHouse.DSN = daemon.NewSecret(f.clickhouse)
	}
	o.ExternalClickHouse = cfg.Sink.ClickHouse.DSN.IsSet()
	if err := errors.Join(cfg.Collector.Validate(), cfg.NATS.Validate()); err != nil {
		return err
	}
	log, _ := daemon.NewLog(a.err, cfg.Log)
	return up.Run(context.Background(), cfg, o, log)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func (a *app) downCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "down", Short: "Stop a running gyre up", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		info, err := instance.Find(dir)
		if err != nil {
			return err
		}
		if err := syscall.Kill(info.PID, syscall.SIGTERM); err != nil {
			return fmt.Errorf("stop process %d: %w", info.PID, err)
		}
		for range 200 {
			if _, err := instance.Find(dir); errors.Is(err, instance.ErrNone) && syscall.Kill(info.PID, 0) != nil {
				_, err = fmt.Fprintf(a.out, "stopped process %d\n", info.PID)
				return err
			}
			time.Sleep(50 * time.Millisecond)
		}
		return fmt.Errorf("process %d did not stop in 10 s", info.PID)
	}}
	c.Flags().StringVar(&dir, "data-dir", instance.DefaultDir(), "data directory of the running `gyre up`")
	return c
}

func (a *app) clickhouseCommand() *cobra.Command {
	c := &cobra.Command{Use: "clickhouse", Short: "Fetch the embedded ClickHouse, print the schema"}
	var ifMissing bool
	fetch := &cobra.Command{Use: "fetch", Short: "Fetch the embedded ClickHouse with npm", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if p, err := embedded.FindLib(); err == nil {
			if ifMissing {
				return nil
			}
			_, err = fmt.Fprintln(a.out, "it is here:", p)
			return err
		}
		ctx, stop := interruptible()
		defer stop()
		if _, err := fmt.Fprintln(a.out, "fetching the embedded ClickHouse with npm: 178 MB, once"); err != nil {
			return err
		}
		p, err := embedded.Fetch(ctx, discard())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, "fetched:", p)
		return err
	}}
	fetch.Flags().BoolVar(&ifMissing, "if-missing", false, "say nothing if it is there")
	c.AddCommand(fetch, a.ddlCommand())
	return c
}

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check and print the configuration"}
	load := func(path string) (*up.Config, error) {
		cfg := up.DefaultConfig()
		return cfg, daemon.Load(daemon.LoadOptions{Path: path, EnvPrefix: "GYRE", Sections: cfg.Sections()})
	}
	c.AddCommand(
		&cobra.Command{Use: "check FILE", Short: "Check a configuration file", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			if _, err := load(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s: ok\n", args[0])
			return err
		}},
		&cobra.Command{Use: "print-defaults", Short: "Print the default configuration with comments", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			return daemon.PrintDefaults(a.out, up.DefaultConfig().Sections())
		}},
		&cobra.Command{Use: "print [FILE]", Short: "Print the effective configuration, secrets hidden", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			cfg, err := load(path)
			if err != nil {
				return err
			}
			return daemon.Print(a.out, cfg.Sections())
		}},
	)
	return c
}
