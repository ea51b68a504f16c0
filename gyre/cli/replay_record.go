package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/sink/notify/format"
)

// What a replay can be.
const (
	statusRunning = "running" // or it ended without a word
	statusDone    = "done"
	statusPartial = "partial"
)

// replayRecord is what the bucket knows of a replay, under run.ID; its state is in pieces under state.ID.
type replayRecord struct {
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Updated time.Time         `json:"updated"`
	Status  string            `json:"status"`
	Spec    replaySpec        `json:"spec"`
	After   backtest.SetInfo  `json:"after"`
	Before  *backtest.SetInfo `json:"before,omitempty"`
	// Turn is 0 or 1: which of the two copies of the state is whole; Pieces is how many it has.
	Turn   int    `json:"turn"`
	Pieces int    `json:"pieces"`
	Events uint64 `json:"events"`
	Alerts uint64 `json:"alerts"`
}

// report is what the replay found, with rates over the range that was asked for as far as it was read.
func (r *replayRecord) report(s *backtest.State) (*backtest.Report, error) {
	span := time.Duration(0)
	if !s.Partial && r.Spec.File == "" && !r.Spec.FromTime.IsZero() {
		end := r.Spec.ToTime
		if end.IsZero() || end.After(r.Created) {
			end = r.Created
		}
		if start := r.Spec.FromTime; !s.From.IsZero() {
			// Nothing is known of the time before the stream begins.
			if s.From.Sub(start) > end.Sub(start)/2 {
				start = s.From
			}
			span = end.Sub(start)
		}
	}
	x, err := s.Report(r.Before, r.After, span)
	if err != nil {
		return nil, err
	}
	if r.Status != "" {
		x.ID = r.ID
	}
	return x, nil
}

// replayRecords is the bucket of replays.
type replayRecords struct {
	kv *bus.KV
}

func openRecords(ctx context.Context, b *bus.Bus) (*replayRecords, error) {
	kv, err := b.KV(ctx, bus.BucketReplays)
	if errors.Is(err, bus.ErrNotFound) {
		err = daemon.Hint(err, "the pipeline makes it: start one of this release first")
	}
	return &replayRecords{kv}, err
}

// pieceBytes bounds a piece of a state, far below what a server takes.
const pieceBytes = 256 << 10

func stateKey(id string, turn, piece int) string {
	return fmt.Sprintf("state.%s.%d.%d", id, turn, piece)
}

// save keeps a replay: the pieces of its state first, in the place of the copy before the last, then the record that points at them.
func (x *replayRecords) save(ctx context.Context, r *replayRecord, status string, s *backtest.State) error {
	r.Status, r.Updated = status, time.Now().UTC()
	if s != nil {
		data, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("keep replay %s: %w", r.ID, err)
		}
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return fmt.Errorf("start zstd: %w", err)
		}
		data = z.EncodeAll(data, nil)
		turn, pieces := 1-r.Turn, 0
		for part := range slices.Chunk(data, pieceBytes) {
			if _, err := x.kv.Put(ctx, stateKey(r.ID, turn, pieces), part); err != nil {
				return fmt.Errorf("keep replay %s: %w", r.ID, err)
			}
			pieces++
		}
		r.Turn, r.Pieces, r.Events, r.Alerts = turn, pieces, s.Events, 0
		for _, n := range s.Nodes {
			r.Alerts += n.Alerts[1]
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep replay %s: %w", r.ID, err)
	}
	if _, err := x.kv.Put(ctx, "run."+r.ID, data); err != nil {
		return fmt.Errorf("keep replay %s: %w", r.ID, err)
	}
	return nil
}

// load reads a replay; its state is nil if it has none yet.
func (x *replayRecords) load(ctx context.Context, id string) (replayRecord, *backtest.State, error) {
	var r replayRecord
	if !markName.MatchString(id) {
		return r, nil, fmt.Errorf("%q is not an id of a replay", id)
	}
	e, err := x.kv.Get(ctx, "run."+id)
	if errors.Is(err, bus.ErrNotFound) {
		return r, nil, daemon.Hint(fmt.Errorf("there is no replay %q", id), "gyre replay list shows them")
	}
	if err != nil {
		return r, nil, err
	}
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return r, nil, fmt.Errorf("read replay %s: %w", id, err)
	}
	if r.Pieces == 0 {
		return r, nil, nil
	}
	var data []byte
	for i := range r.Pieces {
		e, err := x.kv.Get(ctx, stateKey(id, r.Turn, i))
		if err != nil {
			return r, nil, fmt.Errorf("read replay %s: %w", id, err)
		}
		data = append(data, e.Value...)
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return r, nil, fmt.Errorf("start zstd: %w", err)
	}
	defer z.Close()
	s := backtest.NewState()
	if data, err = z.DecodeAll(data, nil); err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return r, nil, fmt.Errorf("read replay %s: %w", id, err)
	}
	return r, s, nil
}

// list reads all records, the oldest first, and the marks.
func (x *replayRecords) list(ctx context.Context) ([]replayRecord, map[string]mark, error) {
	keys, err := x.kv.Keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	runs, marks := []replayRecord{}, map[string]mark{}
	for _, k := range keys {
		kind, name, _ := strings.Cut(k, ".")
		if kind != "run" && kind != "mark" {
			continue
		}
		e, err := x.kv.Get(ctx, k)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if kind == "run" {
			var r replayRecord
			if err = json.Unmarshal(e.Value, &r); err == nil {
				runs = append(runs, r)
			}
		} else {
			var m mark
			if err = json.Unmarshal(e.Value, &m); err == nil {
				marks[unmark(name)] = m
			}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", k, err)
		}
	}
	slices.SortFunc(runs, func(a, b replayRecord) int { return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID)) })
	return runs, marks, nil
}

// drop removes a replay and its state.
func (x *replayRecords) drop(ctx context.Context, id string) error {
	keys, err := x.kv.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if strings.HasPrefix(k, "state."+id+".") {
			if err := x.kv.Delete(ctx, k); err != nil {
				return err
			}
		}
	}
	return x.kv.Delete(ctx, "run."+id)
}

func (a *app) withRecords(f func(ctx context.Context, x *replayRecords) error) error {
	return a.withBus(func(ctx context.Context, b *bus.Bus) error {
		x, err := openRecords(ctx, b)
		if err != nil {
			return err
		}
		return f(ctx, x)
	})
}

func (a *app) replayListCommand() *cobra.Command {
	var asJSON bool
	c := a.connects(&cobra.Command{Use: "list", Short: "List replays and marks", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withRecords(func(ctx context.Context, x *replayRecords) error {
			runs, marks, err := x.list(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(a.out)
				e.SetIndent("", "  ")
				return e.Encode(map[string]any{"replays": runs, "marks": marks})
			}
			if len(runs)+len(marks) == 0 {
				_, err := fmt.Fprintln(a.out, "no replays, no marks")
				return err
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "ID\tCREATED\tSTATUS\tEVENTS\tALERTS\tSTORED\tRULES\tCOMPARED WITH") // errors come up at Flush
			for _, r := range runs {
				before := "-"
				if r.Before != nil {
					before = r.Before.Name
				}
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", r.ID, r.Created.Local().Format("2006-01-02 15:04:05"), r.Status, r.Events, r.Alerts,
					strconv.FormatBool(r.Spec.Store), format.Printable(r.After.Name), format.Printable(before))
			}
			for name, m := range marks {
				_, _ = fmt.Fprintf(w, "mark:%s\t%s\tmark\tafter message %d\t\t\t\t\n", name, m.Time.Local().Format("2006-01-02 15:04:05"), m.Seq)
			}
			return w.Flush()
		})
	}})
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

func (a *app) replayShowCommand() *cobra.Command {
	var f replayFlags
	c := a.connects(&cobra.Command{Use: "show ID", Short: "Show the report of a replay", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withRecords(func(ctx context.Context, x *replayRecords) error {
			r, s, err := x.load(ctx, args[0])
			if err != nil {
				return err
			}
			if s == nil {
				return fmt.Errorf("replay %s has found nothing yet", args[0])
			}
			if r.Status == statusRunning {
				s.Partial, s.Why = true, "it is running, or ended without a word"
			}
			report, err := r.report(s)
			if err != nil {
				return err
			}
			return a.writeReport(report, &f)
		})
	}})
	c.Flags().BoolVar(&f.json, "json", false, "as a JSON object")
	c.Flags().StringVar(&f.html, "html", "", "write the report to a file that browsers show, too")
	return c
}

func (a *app) replayDeleteCommand() *cobra.Command {
	return a.connects(&cobra.Command{Use: "delete ID...", Short: "Delete replays with their stored alerts, and marks (mark:NAME)", Args: cobra.MinimumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withRecords(func(ctx context.Context, x *replayRecords) error {
			for _, id := range args {
				if err := a.deleteReplay(ctx, x, id); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(a.out, "%s is deleted\n", id); err != nil {
					return err
				}
			}
			return nil
		})
	}})
}

func (a *app) deleteReplay(ctx context.Context, x *replayRecords, id string) error {
	if name, ok := strings.CutPrefix(id, "mark:"); ok {
		if _, err := x.kv.Get(ctx, markKey(name)); err != nil {
			return fmt.Errorf("delete %s: %w", id, err)
		}
		return x.kv.Delete(ctx, markKey(name))
	}
	r, _, err := x.load(ctx, id)
	if err != nil && r.ID == "" {
		return err
	}
	if r.Spec.Store {
		s, err := a.openStore(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		if err := s.DeleteReplay(ctx, id); err != nil {
			return err
		}
	}
	return x.drop(ctx, id)
}
