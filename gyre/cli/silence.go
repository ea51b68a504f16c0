package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/route"
)

func (a *app) silenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "silence", Short: "Keep alerts from being notified for a while; they are stored all the same"}
	c.AddCommand(a.silenceAdd(), a.silenceList(), a.silenceExpire())
	return c
}

// withSilences runs f with the bucket.
func (a *app) withSilences(f func(ctx context.Context, kv *bus.KV) error) error {
	return a.withBus(func(ctx context.Context, b *bus.Bus) error {
		kv, err := b.KV(ctx, bus.BucketSilences)
		if err != nil {
			return err
		}
		return f(ctx, kv)
	})
}

func (a *app) silenceAdd() *cobra.Command {
	var s route.Silence
	var d, in time.Duration
	c := a.connects(&cobra.Command{
		Use: "add", Short: "Add a silence", Args: cobra.NoArgs,
		Example: `  gyre silence add --rule "Read sensitive*" --node web-1 --for 2h --comment "migration"` + "\n  gyre silence add --match proc.name=rsync --match 'namespace!=prod' --for 30m",
		RunE: func(*cobra.Command, []string) error {
			if d <= 0 {
				return fmt.Errorf("--for is %s, want above 0", d)
			}
			s.ID, s.Starts = strings.ToLower(rand.Text()[:10]), time.Now().Add(in).UTC()
			s.Ends = s.Starts.Add(d)
			if u, err := user.Current(); s.Author == "" && err == nil {
				s.Author = u.Username
			}
			if err := s.Validate(); err != nil {
				return err
			}
			return a.withSilences(func(ctx context.Context, kv *bus.KV) error {
				if err := purge(ctx, kv, time.Now()); err != nil {
					return err
				}
				data, err := json.Marshal(s)
				if err != nil {
					return err
				}
				if _, err := kv.Put(ctx, s.ID, data); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s silences %s until %s\n", s.ID, describeMatch(s.Match), s.Ends.Format(time.RFC3339))
				return err
			})
		},
	})
	f := c.Flags()
	f.StringSliceVar(&s.Match.Rules, "rule", nil, "name or id of a rule, with globs")
	f.StringSliceVar(&s.Match.Nodes, "node", nil, "node, with globs")
	f.StringSliceVar(&s.Match.Namespaces, "namespace", nil, "Kubernetes namespace, with globs")
	f.StringSliceVar(&s.Match.Tags, "tag", nil, "tag or MITRE technique, with globs")
	f.StringArrayVar(&s.Match.Matchers, "match", nil, "condition on any field: name=value, name!=value, name=~regex, name!~regex")
	f.DurationVar(&d, "for", time.Hour, "how long")
	f.DurationVar(&in, "in", 0, "start after this time")
	f.StringVar(&s.Comment, "comment", "", "why")
	f.StringVar(&s.Author, "author", "", "who (default the present user)")
	return c
}

// keptSilences is how long an expired silence is shown with --all.
const keptSilences = 7 * 24 * time.Hour

// purge deletes silences that expired long ago.
func purge(ctx context.Context, kv *bus.KV, now time.Time) error {
	list, err := silences(ctx, kv)
	if err != nil {
		return err
	}
	for _, s := range list {
		if now.Sub(s.Ends) > keptSilences {
			if err := kv.Delete(ctx, s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// silences lists those that can be read, by their end.
func silences(ctx context.Context, kv *bus.KV) ([]route.Silence, error) {
	keys, err := kv.Keys(ctx)
	if err != nil {
		return nil, err
	}
	list := []route.Silence{}
	for _, k := range keys {
		e, err := kv.Get(ctx, k)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := route.ParseSilence(e.Value)
		if err != nil {
			return nil, fmt.Errorf("read silence %s: %w", k, err)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y route.Silence) int { return cmp.Or(x.Ends.Compare(y.Ends), strings.Compare(x.ID, y.ID)) })
	return list, nil
}

func describeMatch(m route.Match) string {
	var parts []string
	add := func(name string, list []string) {
		if len(list) > 0 {
			parts = append(parts, name+" "+strings.Join(list, " or "))
		}
	}
	add("rule", m.Rules)
	add("node", m.Nodes)
	add("namespace", m.Namespaces)
	add("tag", m.Tags)
	add("source", m.Sources)
	if m.MinPriority != "" {
		parts = append(parts, m.MinPriority+" or worse")
	}
	return format.Printable(strings.Join(append(parts, m.Matchers...), ", "))
}

func (a *app) silenceList() *cobra.Command {
	var all, asJSON bool
	c := a.connects(&cobra.Command{Use: "list", Short: "List silences", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withSilences(func(ctx context.Context, kv *bus.KV) error {
			list, err := silences(ctx, kv)
			if err != nil {
				return err
			}
			now := time.Now()
			if !all {
				list = slices.DeleteFunc(list, func(s route.Silence) bool { return s.State(now) == "expired" })
			}
			if asJSON {
				e := json.NewEncoder(a.out)
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(a.out, "no silences")
				return err
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "ID\tSTATE\tENDS\tSILENCES\tBY\tWHY") // errors come up at Flush
			for _, s := range list {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.State(now), s.Ends.Local().Format("2006-01-02 15:04:05"), describeMatch(s.Match), format.Printable(s.Author), format.Printable(s.Comment))
			}
			return w.Flush()
		})
	}})
	c.Flags().BoolVar(&all, "all", false, "expired ones too")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return c
}

func (a *app) silenceExpire() *cobra.Command {
	return a.connects(&cobra.Command{Use: "expire ID", Short: "End a silence now", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withSilences(func(ctx context.Context, kv *bus.KV) error {
			e, err := kv.Get(ctx, args[0])
			if errors.Is(err, bus.ErrNotFound) {
				return daemon.Hint(fmt.Errorf("there is no silence %q", args[0]), "gyre silence list --all shows them")
			}
			if err != nil {
				return err
			}
			s, err := route.ParseSilence(e.Value)
			now := time.Now().UTC()
			if err != nil || !now.After(s.Starts) { // one that cannot be read, or never began
				err = kv.Delete(ctx, args[0])
			} else if now.Before(s.Ends) {
				s.Ends = now
				data, merr := json.Marshal(s)
				if merr != nil {
					return merr
				}
				_, err = kv.Update(ctx, args[0], data, e.Revision)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s is over\n", args[0])
			return err
		})
	}})
}
