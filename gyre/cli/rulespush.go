package cli

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/rulestore"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

// remoteFlags are those of commands about the rule sets in the bucket.
type remoteFlags struct {
	set, key, comment string
	force             bool
}

// envRulesKey names the file of the key that rule sets are signed with.
const envRulesKey = "GYRE_RULES_KEY"

// remote adds the flags of a command about a rule set in the bucket.
func (a *app) remote(c *cobra.Command, f *remoteFlags) *cobra.Command {
	c.Flags().StringVar(&f.set, "rule-set", "default", "name of the rule set")
	return a.connects(c)
}

func (a *app) signs(c *cobra.Command, f *remoteFlags) *cobra.Command {
	c.Flags().StringVar(&f.key, "key", "", "file of your private key, see gyre rules keygen; or set "+envRulesKey)
	c.Flags().StringVarP(&f.comment, "comment", "m", "", "what changed, for those who read the history")
	return a.remote(c, f)
}

// withStore runs fn with the versions of a rule set.
func (a *app) withStore(f *remoteFlags, fn func(ctx context.Context, s *rulestore.Store) error) error {
	return a.withBus(func(ctx context.Context, b *bus.Bus) error {
		s, err := rulestore.Open(ctx, b, bus.BucketRules, f.set)
		if err != nil {
			return err
		}
		return fn(ctx, s)
	})
}

// signer reads the key that is configured; nil means none.
func (f *remoteFlags) signer() (ed25519.PrivateKey, error) {
	if file := cmp.Or(f.key, os.Getenv(envRulesKey)); file != "" {
		return loadKey(file)
	}
	return nil, nil
}

func author() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func (a *app) pushCommand() *cobra.Command {
	var f remoteFlags
	c := a.signs(&cobra.Command{
		Use: "push DIR|FILE...", Short: "Store rule files in NATS as the new version of a rule set, which evaluators load at once", Args: cobra.MinimumNArgs(1),
		Long: "Checks rule files, gyre's own and Falco's, and stores all of them in one step as the new version of a rule set.\n" +
			"It is refused if they do not check, or are not made of the current version: pull first, or compare with gyre rules diff.",
		Example: "  gyre rules push rules/ --key ada.key -m \"allow the backup host\"\n  gyre rules push falco_rules.yaml falco_rules.local.yaml --force",
		RunE:    func(_ *cobra.Command, args []string) error { return a.push(args, f) },
	}, &f)
	c.Flags().BoolVar(&f.force, "force", false, "replace the current version, whoever made it and whether or not it is signed")
	return c
}

// checked parses and compiles the files of a rule set over the shipped rules.
func checked(files []rulesv1.File) (*ruleset.Set, error) {
	parsed, _, err := evaluator.ParseSet(files)
	if err != nil {
		return nil, err
	}
	return compile(parsed)
}

func (a *app) push(paths []string, f remoteFlags) error {
	dir := ""
	if st, err := os.Stat(paths[0]); err == nil && st.IsDir() && len(paths) == 1 {
		dir = paths[0]
	}
	var m workTree
	var err error
	if dir != "" {
		if m, err = readWorkTree(dir, f.set); err != nil {
			return err
		}
	}
	files, err := localFiles(paths, m)
	if err != nil {
		return err
	}
	set, err := checked(files)
	if err != nil {
		return err
	}
	key, err := f.signer()
	if err != nil {
		return err
	}
	return a.withStore(&f, func(ctx context.Context, s *rulestore.Store) error {
		before, err := s.Current(ctx)
		if err != nil {
			return err
		}
		v, fresh, err := s.Push(ctx, rulestore.Push{Files: files, Author: author(), Comment: f.comment, Key: key, Base: m.Digest, Force: f.force})
		if err != nil {
			return pushHint(err)
		}
		if dir != "" {
			if err := leaveWorkTree(dir, workTreeOf(f.set, v.Digest(), files)); err != nil {
				fmt.Fprintf(a.err, "warning: the next push of %s will need --force: %v\n", dir, err)
			}
		}
		if !fresh {
			_, err = fmt.Fprintf(a.out, "%s is current already: nothing pushed\n", versionName(f.set, v))
			return err
		}
		return a.stored("pushed", f.set, v, set, before)
	})
}

func leaveWorkTree(dir string, m workTree) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(m.write(root), root.Close())
}

// pushHint says what to do about a version that was not stored.
func pushHint(err error) error {
	switch {
	case errors.Is(err, rulestore.ErrConflict):
		return daemon.Hint(err, "see what differs with gyre rules diff DIR; take the current version with gyre rules pull, or replace it with --force")
	case errors.Is(err, rulestore.ErrUnsigned):
		return daemon.Hint(err, "name your key with --key FILE; evaluators that know keys refuse unsigned rule sets")
	case errors.Is(err, rulesv1.ErrTooLarge):
		return daemon.Hint(err, "divide the rules: evaluators also read directories (evaluator.dirs)")
	}
	return err
}

func versionName(set string, v rulestore.Version) string {
	return set + "@" + rulesv1.Short(v.Digest())
}

// stored says what the new version is and how it differs from the one before.
func (a *app) stored(what, name string, v rulestore.Version, set *ruleset.Set, before rulestore.Version) error {
	signed := "not signed"
	if v.Doc.KeyID != "" {
		signed = "signed by key " + v.Doc.KeyID
	}
	if _, err := fmt.Fprintf(a.out, "%s %s: revision %d, %d files, %d rules with the shipped ones, %s\ndigest %s\n",
		what, versionName(name, v), v.Revision, len(v.Doc.Files), len(set.Rules()), signed, v.Digest()); err != nil {
		return err
	}
	if before.Doc == nil {
		return nil
	}
	c, err := ruleChanges(before.Doc.Files, v.Doc.Files)
	if err != nil {
		return nil // the version before does not check here: there is nothing to compare
	}
	_, err = fmt.Fprint(a.out, c.String())
	return err
}

func (a *app) pullCommand() *cobra.Command {
	var f remoteFlags
	c := a.remote(&cobra.Command{
		Use: "pull DIR [DIGEST]", Short: "Write the files of the current version of a rule set, or of another one, to a directory", Args: cobra.RangeArgs(1, 2),
		Long: "Writes the files of a version to DIR and removes rule files that are not part of it. Rule files that were changed\nsince they were pulled or pushed are not overwritten without --force.",
		RunE: func(_ *cobra.Command, args []string) error { return a.pull(args, f) },
	}, &f)
	c.Flags().BoolVar(&f.force, "force", false, "overwrite rule files that were changed")
	return c
}

func (a *app) pull(args []string, f remoteFlags) error {
	dir := args[0]
	var old []rulesv1.File
	m, err := readWorkTree(dir, f.set)
	if err != nil && !f.force {
		return err
	}
	if list, err := evaluator.RuleFiles(dir); err == nil && len(list) > 0 {
		if old, err = localFiles([]string{dir}, m); err != nil {
			return err
		}
	}
	return a.withStore(&f, func(ctx context.Context, s *rulestore.Store) error {
		v, err := pick(ctx, s, args[1:], f.set)
		if err != nil {
			return err
		}
		local := (&rulesv1.Set{Files: old}).Digest()
		if len(old) > 0 && local != m.Digest && local != v.Digest() && !f.force {
			return daemon.Hint(fmt.Errorf("%s holds rule files that are not those of a version", dir), "see them with gyre rules diff "+dir+"; name another directory, or overwrite them with --force")
		}
		if err := writeFiles(dir, old, v.Doc.Files, workTreeOf(f.set, v.Digest(), v.Doc.Files)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "wrote the %d files of %s to %s\n", len(v.Doc.Files), versionName(f.set, v), dir)
		return err
	})
}

// pick returns the version of the digest in args, or the current one.
func pick(ctx context.Context, s *rulestore.Store, args []string, set string) (rulestore.Version, error) {
	if len(args) > 0 && args[0] != "current" {
		v, err := s.Find(ctx, args[0])
		if err != nil {
			err = daemon.Hint(err, "gyre rules versions lists them")
		}
		return v, err
	}
	v, err := s.Current(ctx)
	switch {
	case err != nil:
		return v, err
	case v.Revision == 0 || v.Deleted:
		return v, daemon.Hint(fmt.Errorf("there is no rule set %s in the bucket", set), "gyre rules push DIR stores one")
	case v.Doc == nil:
		return v, fmt.Errorf("rule set %s, revision %d: %w", set, v.Revision, v.Err)
	}
	return v, nil
}

// sameFiles tells whether two versions hold the same.
func sameFiles(x, y []rulesv1.File) bool {
	return slices.EqualFunc(x, y, func(p, q rulesv1.File) bool { return p.Name == q.Name && string(p.Data) == string(q.Data) })
}
