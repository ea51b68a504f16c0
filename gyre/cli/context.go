package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	labels "github.com/gyre-sec/gyre/enricher/label"
)

func (a *app) contextCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "context", Short: "Show or change the tables of labels that enrichers look up, while they run",
		Long: "Each table has the name of a lookup in enricher.labels.lookups that names no file. docs/context-cluster.md has an example.",
	}
	c.AddCommand(
		a.connects(&cobra.Command{Use: "push NAME FILE", Short: "Check a CSV table and put it into force, - for standard input", Args: cobra.ExactArgs(2), RunE: func(_ *cobra.Command, args []string) error {
			data, err := readInput(args[1])
			if err != nil {
				return err
			}
			rows, err := labels.CheckTable(args[1], data)
			if err != nil {
				return err
			}
			if len(data) > maxContextTable {
				return daemon.Hint(fmt.Errorf("push %s: %d bytes, at most %d go into the bucket", args[1], len(data), maxContextTable), "name the file in enricher.labels.lookups instead")
			}
			return a.withBucket(bus.BucketContext, func(ctx context.Context, kv *bus.KV) error {
				rev, err := kv.Put(ctx, args[0], data)
				if err == nil {
					_, err = fmt.Fprintf(a.out, "table %s: %d rows, revision %d\n", args[0], rows, rev)
				}
				return err
			})
		}}),
		a.connects(&cobra.Command{Use: "show [NAME]", Short: "List the tables, or print one", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return a.withBucket(bus.BucketContext, func(ctx context.Context, kv *bus.KV) error {
				if len(args) == 1 {
					e, err := kv.Get(ctx, args[0])
					if err == nil {
						_, err = a.out.Write(e.Value)
					}
					return err
				}
				keys, err := kv.Keys(ctx)
				for _, k := range keys {
					e, err := kv.Get(ctx, k)
					if err != nil {
						return err
					}
					rows, _ := labels.CheckTable(k, e.Value)
					fmt.Fprintf(a.out, "%-30s %8d rows, revision %d of %s\n", k, rows, e.Revision, e.Created.Format("2006-01-02 15:04:05"))
				}
				return err
			})
		}}),
		a.connects(&cobra.Command{Use: "delete NAME", Short: "Delete a table", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return a.withBucket(bus.BucketContext, func(ctx context.Context, kv *bus.KV) error {
				if _, err := kv.Get(ctx, args[0]); err != nil {
					return err
				}
				return kv.Delete(ctx, args[0])
			})
		}}),
	)
	return c
}

// maxContextTable is a little less than what NATS takes in one message by default.
const maxContextTable = 1_000_000

// readInput reads a file, or standard input for -.
func readInput(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// withBucket opens a key-value bucket of the instance or the fleet.
func (a *app) withBucket(name string, do func(ctx context.Context, kv *bus.KV) error) error {
	ctx, stop := interruptible()
	defer stop()
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	kv, err := b.KV(ctx, name)
	if err != nil {
		return err
	}
	return do(ctx, kv)
}
