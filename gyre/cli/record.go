package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/schemas/subject"
)

type recordFlags struct {
	length, since time.Duration
	out           string
	nodes         []string
	source        string
	stored        bool
	force, quiet  bool
}

func (a *app) recordCommand() *cobra.Command {
	var f recordFlags
	c := a.connects(&cobra.Command{
		Use: "record", Short: "Record enriched batches to a file, for gyre replay --from-file", Args: cobra.NoArgs,
		Long: "Records enriched batches as they come, or with --since those that the stream still holds, to one file with an index and a checksum.\n" +
			"With --stored it records what evaluator.store_events has put into ClickHouse, which reaches further back than the stream.\n" +
			"The file says what was lost: events that nodes report as lost, numbers of events without a batch, and messages that the stream has removed.\n" +
			"Ctrl-C ends it early; the file is complete as far as it goes, and says so.",
		Example: "  gyre record --for 10m -o session.gyre\n  gyre record --since 2h --node web-1 -o web.gyre\n  gyre record --stored --since 120h --for 2h -o wednesday.gyre",
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := interruptible()
			defer stop()
			return a.record(ctx, f)
		},
	})
	fl := c.Flags()
	fl.DurationVar(&f.length, "for", 0, "how long to record what comes; with --since, how much of it")
	fl.DurationVar(&f.since, "since", 0, "record from this far back to now, instead of what comes")
	fl.StringVarP(&f.out, "output", "o", "", "file to write")
	fl.StringSliceVar(&f.nodes, "node", nil, "only batches of this node; may be repeated")
	fl.StringVar(&f.source, "source", "", "only events of this source, such as syscall")
	fl.BoolVar(&f.stored, "stored", false, "record the events that ClickHouse holds, by their own times; needs --since")
	fl.BoolVarP(&f.force, "force", "f", false, "replace a file that is there")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	return c
}

func (f *recordFlags) check() error {
	switch {
	case f.out == "":
		return daemon.Hint(errors.New("it is not said which file to write"), "add -o FILE")
	case f.length < 0 || f.since < 0:
		return errors.New("--for and --since are durations above 0")
	case f.length == 0 && f.since == 0:
		return daemon.Hint(errors.New("it is not said how long to record"), "add --for 10m, or --since 1h for what the stream holds")
	}
	if f.stored && f.since == 0 {
		return daemon.Hint(errors.New("--stored reads the past, and it is not said which"), "add --since 120h")
	}
	for _, n := range f.nodes {
		if strings.ContainsAny(n, "*?") {
			return fmt.Errorf("--node %s: a recording takes names of nodes, not patterns; gyre replay --from-file takes patterns", n)
		}
	}
	if _, err := os.Lstat(f.out); err == nil && !f.force {
		return daemon.Hint(fmt.Errorf("%s is there already", f.out), "choose another name, or add --force")
	}
	return nil
}

func (a *app) record(ctx context.Context, f recordFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	open := a.openStream
	if f.stored {
		open = a.openStored
	}
	src, err := open(ctx, f)
	if err != nil {
		return err
	}
	defer src.close()
	file, err := os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	w, err := recording.NewWriter(file)
	if err == nil {
		err = src.read(ctx, w)
		err = errors.Join(err, w.Close(err == nil && ctx.Err() == nil))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	x := w.Index()
	_, err = fmt.Fprintf(a.out, "%s: %s\n", f.out, describeRecording(x))
	return err
}

// recorded is what a recording is made of. read returns nil if ctx ended.
type recorded struct {
	read  func(ctx context.Context, w *recording.Writer) error
	close func()
}

// openStream opens what comes, or what the stream holds.
func (a *app) openStream(ctx context.Context, f recordFlags) (recorded, error) {
	b, _, err := a.openBus(ctx)
	if err != nil {
		return recorded{}, err
	}
	if f.since > 0 {
		x, err := b.Bounds(ctx, bus.StreamEnriched)
		if err != nil {
			b.Close()
			return recorded{}, err
		}
		if x.FirstSeq > 1 && x.FirstTime.After(time.Now().Add(-f.since)) {
			fmt.Fprintf(a.err, "the stream's limits have removed what is older than %s: the recording starts there. If evaluator.store_events is set, --stored reaches further back\n", x.FirstTime.Format(time.RFC3339))
		}
	}
	return recorded{func(ctx context.Context, w *recording.Writer) error { return a.recordStream(ctx, b, f, w) }, b.Close}, nil
}

func (a *app) recordStream(ctx context.Context, b *bus.Bus, f recordFlags, w *recording.Writer) error {
	cfg := bus.ReadConfig{Stream: bus.StreamEnriched}
	for _, n := range f.nodes {
		cfg.Filters = append(cfg.Filters, subject.EventFilter(subject.PrefixEnriched, f.source, n))
	}
	if len(f.nodes) == 0 && f.source != "" {
		cfg.Filters = []string{subject.EventFilter(subject.PrefixEnriched, f.source, "")}
	}
	read := ctx
	if f.since > 0 {
		cfg.FromTime = time.Now().Add(-f.since)
		if f.length > 0 {
			cfg.ToTime = cfg.FromTime.Add(f.length)
		}
	} else {
		cfg.Follow = true
		var cancel context.CancelFunc
		read, cancel = context.WithTimeout(ctx, f.length)
		defer cancel()
	}
	var u bus.Unpacker
	said := time.Now()
	return b.Read(read, cfg, func(p bus.Packed) error {
		data, err := u.Unpack(p)
		if err != nil {
			w.Index().Bad++
			return nil
		}
		if !f.quiet && time.Since(said) > progressEvery {
			said = time.Now()
			fmt.Fprintf(a.err, "%d batches, %d events\n", w.Index().Batches, w.Index().Events)
		}
		return w.Add(p.Subject, p.Seq, p.Time, data, len(cfg.Filters) > 0)
	})
}

func describeRecording(x *recording.Index) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d events of %d nodes in %d batches, %s before compression", x.Events, len(x.Nodes), x.Batches, humanize.IBytes(x.Bytes))
	if x.Batches > 0 {
		fmt.Fprintf(&s, ", %s to %s", x.From.Format(time.RFC3339), x.To.Format(time.RFC3339))
	}
	for _, l := range []struct {
		n    uint64
		what string
	}{{x.Lost(), "events were lost on nodes"}, {x.Gaps(), "events are in no batch"}, {x.Missing, "messages were gone from the stream"}, {x.Bad, "batches do not decode"}} {
		if l.n > 0 {
			fmt.Fprintf(&s, "; %d %s", l.n, l.what)
		}
	}
	if x.Picked {
		s.WriteString("; only what evaluator.store_events picked")
	}
	if !x.Complete || x.Damage != "" {
		s.WriteString("; " + incomplete(x))
	}
	return s.String()
}

func incomplete(x *recording.Index) string {
	if x.Damage != "" {
		return "INCOMPLETE: " + x.Damage
	}
	return "INCOMPLETE: it was ended early"
}

// openRecording opens a recording; one that was cut off is played as far as it goes.
func openRecording(path string, verify bool) (*recording.File, error) {
	f, err := recording.Open(path, verify)
	if errors.Is(err, recording.ErrFormat) {
		err = daemon.Hint(err, "gyre record makes recordings of batches")
	}
	return f, err
}

// sourceOf is the source of events that a subject names.
func sourceOf(s string) (string, bool) {
	source, _, err := subject.ParseEvent(s)
	return source, err == nil
}

// unmark is the name of a mark in a key.
func unmark(token string) string {
	if s, err := subject.Untoken(token); err == nil {
		return s
	}
	return token
}
