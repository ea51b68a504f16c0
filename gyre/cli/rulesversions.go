package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/rulestore"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// versionInfo is a version as it is listed.
type versionInfo struct {
	RuleSet  string    `json:"rule_set"`
	Revision uint64    `json:"revision"`
	Digest   string    `json:"digest,omitempty"`
	Stored   time.Time `json:"stored"`
	Author   string    `json:"author,omitempty"`
	Comment  string    `json:"comment,omitempty"`
	KeyID    string    `json:"key_id,omitempty"`
	Files    int       `json:"files"`
	Current  bool      `json:"current"`
	Deleted  bool      `json:"deleted,omitempty"`
	Error    string    `json:"error,omitempty"`
}

func infoOf(set string, v rulestore.Version) versionInfo {
	i := versionInfo{RuleSet: set, Revision: v.Revision, Stored: v.Stored.UTC(), Deleted: v.Deleted}
	switch {
	case v.Err != nil:
		i.Error = v.Err.Error()
	case v.Doc != nil:
		i.Digest, i.Author, i.Comment, i.KeyID, i.Files = v.Digest(), v.Doc.Author, v.Doc.Comment, v.Doc.KeyID, len(v.Doc.Files)
	}
	return i
}

// summary is what stands beside the digest.
func (i versionInfo) summary() string {
	switch {
	case i.Error != "":
		return "NOT READABLE: " + i.Error
	case i.Deleted:
		return "deleted"
	}
	return clickhouse.Printable(i.Comment)
}

func (a *app) versionsCommand() *cobra.Command {
	var f remoteFlags
	var asJSON bool
	c := a.remote(&cobra.Command{Use: "versions", Short: "List the versions of a rule set that NATS keeps, the newest last", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withStore(&f, func(ctx context.Context, s *rulestore.Store) error {
			list, err := s.Versions(ctx)
			if err != nil {
				return err
			}
			infos := make([]versionInfo, len(list))
			for i, v := range list {
				infos[i] = infoOf(f.set, v)
				infos[i].Current = i == len(list)-1
			}
			return a.writeVersions(f.set, infos, asJSON)
		})
	}}, &f)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

func (a *app) writeVersions(set string, list []versionInfo, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(a.out)
		for _, i := range list {
			if err := enc.Encode(i); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(a.out, "rule set %s was never pushed\n", set)
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tDIGEST\tSTORED\tBY\tKEY\tFILES\t")
	for _, i := range list {
		current := ""
		if i.Current {
			current = "*"
		}
		fmt.Fprintf(w, "%d%s\t%s\t%s\t%s\t%s\t%d\t%s\n", i.Revision, current, orDash(rulesv1.Short(i.Digest)), i.Stored.Local().Format("2006-01-02 15:04:05"),
			orDash(clickhouse.Printable(i.Author)), orDash(i.KeyID), i.Files, i.summary())
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) rollbackCommand() *cobra.Command {
	var f remoteFlags
	return a.signs(&cobra.Command{
		Use: "rollback [DIGEST]", Short: "Make an earlier version of a rule set current again", Args: cobra.MaximumNArgs(1),
		Long: "Stores the files of an earlier version as a new one; without DIGEST, of the newest one that differs from the current version.\nIt is signed by you, not by who signed it then.",
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := f.signer()
			if err != nil {
				return err
			}
			return a.withStore(&f, func(ctx context.Context, s *rulestore.Store) error {
				before, err := s.Current(ctx)
				if err != nil {
					return err
				}
				v, fresh, err := s.Rollback(ctx, strings.Join(args, ""), author(), f.comment, key)
				if err != nil {
					return daemon.Hint(pushHint(err), "gyre rules versions lists what there is")
				}
				if !fresh {
					_, err = fmt.Fprintf(a.out, "%s is current already\n", versionName(f.set, v))
					return err
				}
				set, err := checked(v.Doc.Files)
				if err != nil {
					return fmt.Errorf("%s is current, but does not check with this release, and evaluators of it refuse it: %w", versionName(f.set, v), err)
				}
				return a.stored("rolled back to", f.set, v, set, before)
			})
		},
	}, &f)
}

// ruleSets lists the current versions of all rule sets of the bucket.
func ruleSets(ctx context.Context, b *bus.Bus) ([]versionInfo, error) {
	kv, err := b.KV(ctx, bus.BucketRules)
	if err != nil {
		return nil, err
	}
	names, err := kv.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var list []versionInfo
	for _, name := range names {
		if rulesv1.CheckName(name) != nil {
			continue // no evaluator reads it
		}
		s, err := rulestore.Open(ctx, b, bus.BucketRules, name)
		if err != nil {
			return nil, err
		}
		v, err := s.Current(ctx)
		if err != nil {
			return nil, err
		}
		i := infoOf(name, v)
		i.Current = true
		list = append(list, i)
	}
	return list, nil
}
