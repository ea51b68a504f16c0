package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/policy"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

func (a *app) captureCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "capture", Short: "Show or change what collectors capture, while they run",
		Long: "The capture policy of a node is that of the node if there is one, else that of the fleet, else the section\ncollector.capture of the collector's configuration. docs/operations.md has an example.",
	}
	c.AddCommand(a.captureShow(), a.captureSet(), a.captureClear(), a.captureCheck())
	return c
}

// policyKey is the key of a node's policy, or of the fleet's.
func policyKey(node string) string {
	if node == "" {
		return subject.CaptureFleet
	}
	return subject.Capture(node)
}

func (a *app) withConfig(do func(ctx context.Context, b *bus.Bus, kv *bus.KV) error) error {
	ctx, stop := interruptible()
	defer stop()
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	kv, err := b.KV(ctx, bus.BucketConfig)
	if err != nil {
		return err
	}
	return do(ctx, b, kv)
}

func (a *app) captureShow() *cobra.Command {
	return a.connects(&cobra.Command{Use: "show", Short: "Show the policies, and which one each node has in force", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withConfig(func(ctx context.Context, b *bus.Bus, kv *bus.KV) error {
			keys, err := kv.Keys(ctx)
			if err != nil {
				return err
			}
			for _, key := range keys {
				if key != subject.CaptureFleet && !strings.HasPrefix(key, subject.CaptureFleet+".") {
					continue
				}
				e, err := kv.Get(ctx, key)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "# %s, digest %s, revision %d of %s\n%s\n", key, policy.Digest(e.Value), e.Revision, e.Created.Format("2006-01-02 15:04:05"), strings.TrimRight(string(e.Value), "\n"))
			}
			return a.showNodes(ctx, b)
		})
	}})
}

// showNodes prints what each node says it has in force.
func (a *app) showNodes(ctx context.Context, b *bus.Bus) error {
	facts, err := b.KV(ctx, bus.BucketFacts)
	if err != nil {
		return err
	}
	keys, err := facts.Keys(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%-30s %-12s %s\n", "NODE", "MODE", "POLICY IN FORCE")
	for _, key := range keys {
		if !strings.HasSuffix(key, ".host") {
			continue
		}
		e, err := facts.Get(ctx, key)
		if err != nil {
			return err
		}
		h, err := factv1.DecodeHost(e.Value)
		if err != nil {
			fmt.Fprintf(a.out, "%-30s %v\n", key, err)
			continue
		}
		fmt.Fprintf(a.out, "%-30s %-12s %s\n", h.Node, h.Capture, h.Policy)
		if h.PolicyError != "" {
			fmt.Fprintf(a.out, "%-30s REFUSED A NEWER ONE: %s\n", "", h.PolicyError)
		}
	}
	return nil
}

func readDocument(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	doc, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return doc, nil
}

func (a *app) captureSet() *cobra.Command {
	var node string
	c := a.connects(&cobra.Command{Use: "set FILE", Short: "Put a policy into force, - for standard input", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		doc, err := readDocument(args[0])
		if err != nil {
			return err
		}
		if _, err := policy.Parse(args[0], doc); err != nil {
			return err
		}
		return a.withConfig(func(ctx context.Context, _ *bus.Bus, kv *bus.KV) error {
			if _, err := kv.Put(ctx, policyKey(node), doc); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s is now %s; gyre capture show tells which nodes have it in force\n", policyKey(node), policy.Digest(doc))
			return err
		})
	}})
	c.Flags().StringVar(&node, "node", "", "for this node only")
	return c
}

func (a *app) captureClear() *cobra.Command {
	var node string
	c := a.connects(&cobra.Command{Use: "clear", Short: "Take a policy back: the fleet's or the configuration's counts again", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withConfig(func(ctx context.Context, _ *bus.Bus, kv *bus.KV) error {
			if _, err := kv.Get(ctx, policyKey(node)); errors.Is(err, bus.ErrNotFound) {
				return daemon.Hint(fmt.Errorf("there is no policy %s", policyKey(node)), "gyre capture show lists them")
			}
			return kv.Delete(ctx, policyKey(node))
		})
	}})
	c.Flags().StringVar(&node, "node", "", "that of this node")
	return c
}

func (a *app) captureCheck() *cobra.Command {
	return &cobra.Command{Use: "check FILE", Short: "Check a policy and list the kinds that it captures", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		doc, err := readDocument(args[0])
		if err != nil {
			return err
		}
		p, err := policy.Parse(args[0], doc)
		if err != nil {
			return err
		}
		for _, k := range p.Selected() {
			fmt.Fprintln(a.out, k)
		}
		return nil
	}}
}
