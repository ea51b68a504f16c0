// Package cli is the commands of gyre. Each returns an error; [Main] prints it with
// its remedy and turns it into the exit code: 0 only on success.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/gyre/instance"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// errQuiet ends a command with exit code 1 after it has said everything.
var errQuiet = errors.New("failed")

// app is what all commands share.
type app struct {
	out, err   io.Writer
	dataDir    string
	nats       string
	natsCreds  string
	clickhouse string
}

// Main runs a command line and returns its exit code.
func Main(args []string, out, errw io.Writer) int {
	a := &app{out: out, err: errw}
	root := &cobra.Command{
		Use: "gyre", Short: "Fleet-wide runtime security for Linux",
		Long: "gyre watches what processes do, evaluates rules on it anywhere, and answers questions about it in SQL.\n\n" +
			"Try it on this host:  sudo gyre up\nIn another terminal:  sudo gyre alerts, gyre events, gyre status, gyre query \"SELECT ...\"",
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errw)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.upCommand(), a.downCommand(), a.alertsCommand(), a.incidentsCommand(), a.queryCommand(), a.eventsCommand(), a.statusCommand(), a.fieldsCommand(), a.rulesCommand(), a.actionCommand(), a.captureCommand(), a.outputsCommand(), a.silenceCommand(), a.replayCommand(), a.recordCommand(), a.contextCommand(), a.intelCommand(), a.configCommand(), a.clickhouseCommand(), a.versionCommand())
	err := root.Execute()
	var code exitCode
	switch {
	case errors.As(err, &code):
		return int(code)
	case err == nil, errors.Is(err, syscall.EPIPE):
		return 0
	case !errors.Is(err, errQuiet):
		daemon.PrintError(errw, err)
	}
	return 1
}

// connects adds the flags that say which instance or fleet a command talks to.
func (a *app) connects(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.dataDir, "data-dir", instance.DefaultDir(), "data directory of the running `gyre up`")
	c.Flags().StringVar(&a.nats, "nats", "", "NATS of a fleet, as nats://host:4222")
	c.Flags().StringVar(&a.natsCreds, "nats-creds", "", "credentials file for --nats")
	c.Flags().StringVar(&a.clickhouse, "clickhouse", "", "ClickHouse of a fleet, as clickhouse://user:password@host:9000/database; or set GYRE_CLICKHOUSE")
	return c
}

// interruptible ends with the first Ctrl-C.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// openBus connects to the instance's or the fleet's NATS.
func (a *app) openBus(ctx context.Context) (*bus.Bus, instance.Info, error) {
	cfg := bus.DefaultConfig()
	cfg.Name = "gyre-cli"
	var info instance.Info
	if a.nats != "" {
		cfg.URL, cfg.CredsFile = a.nats, a.natsCreds
	} else {
		var err error
		if info, err = instance.Find(a.dataDir); err != nil {
			return nil, info, err
		}
		cfg.URL = info.NATS
		if info.NATSToken != "" {
			cfg.Token = daemon.NewSecret(info.NATSToken)
		}
	}
	b, err := bus.Connect(ctx, cfg, discard(), prometheus.NewRegistry())
	return b, info, err
}

// openStore connects to the instance's or the fleet's ClickHouse.
func (a *app) openStore(ctx context.Context) (*clickhouse.Store, error) {
	cfg := clickhouse.DefaultConfig()
	dsn := a.clickhouse
	if dsn == "" {
		dsn = os.Getenv("GYRE_CLICKHOUSE")
	}
	if dsn == "" {
		if a.nats != "" {
			return nil, daemon.Hint(errors.New("no ClickHouse is named"), "add --clickhouse DSN, or set GYRE_CLICKHOUSE")
		}
		info, err := instance.Find(a.dataDir)
		if err != nil {
			return nil, err
		}
		dsn = info.ClickHouse
	}
	cfg.DSN = daemon.NewSecret(dsn)
	return clickhouse.Open(ctx, cfg)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		_, err := fmt.Fprintln(a.out, "gyre", daemon.Version())
		return err
	}}
}
