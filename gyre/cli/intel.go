package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/indicator"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

func (a *app) intelCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "intel", Short: "Show or change the lists of threat intelligence, while evaluators run",
		Long: "Lists are read by enrichers (enricher.intel.lists) or pushed here; rules ask them through the fields intel.*.\ndocs/context-cluster.md has an example.",
	}
	c.AddCommand(a.intelLists(), a.intelPush(), a.intelDelete(), a.intelFind())
	return c
}

func (a *app) intelLists() *cobra.Command {
	return a.connects(&cobra.Command{Use: "lists", Short: "List the lists", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withBucket(bus.BucketIntel, func(ctx context.Context, kv *bus.KV) error {
			lists, err := indicator.List(ctx, kv)
			fmt.Fprintf(a.out, "%-24s %10s %8s  %-20s %s\n", "LIST", "ENTRIES", "SKIPPED", "CHANGED", "SOURCE")
			for _, m := range lists {
				fmt.Fprintf(a.out, "%-24s %10d %8d  %-20s %s\n", m.Name, m.Entries, m.Skipped, m.Updated.Format("2006-01-02 15:04:05"), m.Source)
			}
			return err
		})
	}})
}

func (a *app) intelPush() *cobra.Command {
	var typ string
	var column int
	c := a.connects(&cobra.Command{Use: "push NAME FILE", Short: "Check a list with an indicator a line and put it into force, - for standard input", Args: cobra.ExactArgs(2), RunE: func(_ *cobra.Command, args []string) error {
		t, err := intelv1.ParseType(typ)
		if err != nil {
			return err
		}
		data, err := readInput(args[1])
		if err != nil {
			return err
		}
		p, err := intelv1.Parse(bytes.NewReader(data), intelv1.Source{Name: args[1], Type: t, Column: column})
		if err != nil {
			return err
		}
		m, chunks, err := intelv1.Pack(args[0], "pushed", p.Entries, time.Now())
		if err != nil {
			return err
		}
		m.Skipped = p.Skipped
		if p.FirstBad != nil {
			fmt.Fprintf(a.err, "%d lines are skipped, the first one: %v\n", p.Skipped, p.FirstBad)
		}
		return a.withBucket(bus.BucketIntel, func(ctx context.Context, kv *bus.KV) error {
			fresh, err := indicator.Put(ctx, kv, m, chunks)
			if err == nil {
				_, err = fmt.Fprintf(a.out, "list %s: %d indicators in %d chunks%s\n", m.Name, m.Entries, m.Chunks, map[bool]string{false: ", as before"}[fresh])
			}
			return err
		})
	}})
	c.Flags().StringVar(&typ, "type", "", "what the indicators are: ip, domain, path or sha256; each is what it looks like without it")
	c.Flags().IntVar(&column, "column", 1, "column of the indicator in lines divided by commas, semicolons or blanks")
	return c
}

func (a *app) intelDelete() *cobra.Command {
	return a.connects(&cobra.Command{Use: "delete NAME", Short: "Delete a list", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withBucket(bus.BucketIntel, func(ctx context.Context, kv *bus.KV) error { return indicator.Delete(ctx, kv, args[0]) })
	}})
}

func (a *app) intelFind() *cobra.Command {
	return a.connects(&cobra.Command{Use: "find INDICATOR", Short: "Tell which lists have an indicator, as it stands there", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		want, t, err := intelv1.Normal(strings.TrimSpace(args[0]), intelv1.Auto)
		if err != nil {
			return daemon.Hint(err, "give an address, a network, a domain name, a path or a SHA-256 sum")
		}
		return a.withBucket(bus.BucketIntel, func(ctx context.Context, kv *bus.KV) error {
			lists, err := indicator.List(ctx, kv)
			if err != nil {
				return err
			}
			found := false
			for _, m := range lists {
				has := false
				if err := indicator.Each(ctx, kv, m, func(x []byte) { has = has || string(x) == want }); err != nil {
					return err
				}
				if has {
					found = true
					fmt.Fprintf(a.out, "%s %s is on %s\n", t, want, m.Name)
				}
			}
			if !found {
				fmt.Fprintf(a.out, "%s %s is on no list\n", t, want)
				return errQuiet
			}
			return nil
		})
	}})
}
