package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// replayRun is a replay with everything that it needs.
type replayRun struct {
	a             *app
	f             *replayFlags
	bus           *bus.Bus       // nil for a recording that needs none
	runs          *replayRecords // nil without a bus
	rec           replayRecord
	state         *backtest.State
	after, before *ruleset.Set
	cfg           backtest.Config
	src           backtest.Source
	file          *recording.File
	store         *clickhouse.Store
	bounds        bus.Bounds // of the stream
	cluster       backtest.Cluster
}

// openReplay resolves the flags, or what an earlier replay was asked for, and compiles the rules.
func (a *app) openReplay(ctx context.Context, f *replayFlags) (r *replayRun, err error) {
	r = &replayRun{a: a, f: f}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	s := &f.spec
	if s.File == "" || s.Store || f.resume != "" || slices.ContainsFunc(append(slices.Clone(s.Rules), s.Diff...), ofEvaluators) {
		if r.bus, _, err = a.openBus(ctx); err != nil {
			return r, err
		}
		if r.runs, err = openRecords(ctx, r.bus); err != nil {
			return r, err
		}
	}
	if f.resume != "" {
		if r.rec, r.state, err = r.runs.load(ctx, f.resume); err != nil {
			return r, err
		}
		if r.rec.Status == statusDone {
			return r, daemon.Hint(fmt.Errorf("replay %s is done", f.resume), "gyre replay show "+f.resume)
		}
		*s = r.rec.Spec
	} else {
		r.rec = replayRecord{ID: strings.ToLower(rand.Text()[:10]), Created: time.Now().UTC()}
		if s.File == "" {
			err = f.resolve(ctx, r.bus, r.runs.kv)
		} else {
			s.File, err = filepath.Abs(s.File)
		}
		if err != nil {
			return r, err
		}
		r.rec.Spec = *s
	}
	if err = r.compile(ctx); err != nil {
		return r, err
	}
	if s.Store {
		if r.store, err = a.openStore(ctx); err != nil {
			return r, err
		}
		if err = r.store.Migrate(ctx); err != nil {
			return r, err
		}
	}
	return r, r.source(ctx)
}

func ofEvaluators(name string) bool {
	return name == rulesCurrent || strings.HasPrefix(name, "sha256:")
}

func (r *replayRun) compile(ctx context.Context) error {
	s := &r.f.spec
	set, bundle, err := ruleSet(ctx, r.bus, s.Rules, s)
	if err != nil {
		return fmt.Errorf("--rules: %w", err)
	}
	r.after, r.cluster.After, r.cfg.AllFalco = set, bundle, bundle.AllFalco || s.AllFalco
	after := backtest.Info(strings.Join(s.Rules, " + "), set)
	var before *backtest.SetInfo
	if len(s.Diff) > 0 {
		if r.before, r.cluster.Before, err = ruleSet(ctx, r.bus, s.Diff, s); err != nil {
			return fmt.Errorf("--diff: %w", err)
		}
		x := backtest.Info(strings.Join(s.Diff, " + "), r.before)
		before = &x
	}
	if r.state != nil && (r.rec.After.Digest != after.Digest || before != nil && r.rec.Before.Digest != before.Digest) {
		return daemon.Hint(fmt.Errorf("the rules have changed since replay %s began", r.rec.ID), "put the old ones back, or start a new replay")
	}
	r.rec.After, r.rec.Before = after, before
	if s.Where != "" {
		if r.cfg.Where, err = backtest.Condition(s.Where); err != nil {
			return fmt.Errorf("--where: %w", err)
		}
	}
	return nil
}

// source opens what is read; a resumed replay starts behind what it has.
func (r *replayRun) source(ctx context.Context) error {
	s := &r.f.spec
	r.cfg.Nodes = s.Nodes
	if s.File != "" {
		f, err := openRecording(s.File, !r.f.noVerify)
		if err != nil {
			return err
		}
		r.file = f
		x := f.Index()
		r.bounds = bus.Bounds{FirstSeq: x.FirstSeq, LastSeq: x.LastSeq, FirstTime: x.From, LastTime: x.To, Messages: x.Batches}
		if !x.Complete || x.Damage != "" {
			fmt.Fprintf(r.a.err, "the recording covers less than was asked for: %s\n", incomplete(x))
		}
		if x.Picked {
			fmt.Fprintln(r.a.err, "the recording holds the events that evaluator.store_events picked: rules cannot match others")
		}
		r.src = fileSource{f, s, r.state}
		r.cfg.Sparse = s.Source != ""
		return nil
	}
	cfg := s.readConfig()
	var err error
	if r.bounds, err = r.bus.Bounds(ctx, bus.StreamEnriched); err != nil {
		return err
	}
	if late := s.startsLate(r.bounds); late != "" && r.state == nil {
		fmt.Fprintln(r.a.err, late)
	}
	if r.state != nil && r.state.Batches > 0 {
		cfg.FromSeq, cfg.FromTime = r.state.Seq+1, time.Time{}
	}
	r.cfg.Sparse = len(cfg.Filters) > 0
	r.src = streamSource{r.bus, cfg}
	r.cluster.Bus, r.cluster.Where, r.cluster.Range = r.bus, s.Where, cfg
	return nil
}

// fileSource leaves out of a recording what is not asked for and what an earlier replay has.
type fileSource struct {
	f     *recording.File
	s     *replaySpec
	state *backtest.State
}

// Read implements [backtest.Source].
func (x fileSource) Read(ctx context.Context, fn func(bus.Packed) error) error {
	return x.f.Read(ctx, func(p bus.Packed) error {
		if x.state != nil && x.state.Batches > 0 && p.Seq <= x.state.Seq {
			return nil
		}
		if x.s.Source != "" {
			if source, ok := sourceOf(p.Subject); ok && source != x.s.Source {
				return nil
			}
		}
		return fn(p)
	})
}

// run replays and reports; the report is nil if there is none.
func (r *replayRun) run(ctx context.Context) (*backtest.Report, error) {
	cfg := r.cfg
	cfg.After, cfg.Before, cfg.Workers, cfg.Rate, cfg.State = r.after, r.before, r.f.workers, r.f.rate, r.state
	cfg.Progress = &backtest.Progress{}
	stored := &replayStore{store: r.store, id: r.rec.ID}
	if r.store != nil || r.f.alerts {
		cfg.Each = func(v backtest.Verdict, a *alertv1.Alert) error {
			if r.store != nil {
				if err := stored.add(ctx, v, a); err != nil {
					return err
				}
			}
			if r.f.alerts {
				return r.writeVerdict(v, a)
			}
			return nil
		}
	}
	// A checkpoint is made when all before it is stored; it may be made after Ctrl-C.
	kept := context.WithoutCancel(ctx)
	if r.runs != nil {
		if err := r.runs.save(kept, &r.rec, statusRunning, r.state); err != nil {
			return nil, err
		}
		cfg.Checkpoint = func(s *backtest.State) error {
			if err := stored.flush(kept); err != nil {
				return err
			}
			return r.runs.save(kept, &r.rec, statusRunning, s)
		}
	}
	bar := r.a.startProgress(r, cfg.Progress)
	var state *backtest.State
	var err error
	if r.f.on == onCluster {
		r.cluster.Parallel = cmp.Or(r.f.workers, clusterParallel)
		state, err = backtest.RunOn(ctx, &r.cluster, cfg)
	} else {
		state, err = backtest.Run(ctx, r.src, cfg)
	}
	bar.stop()
	if state == nil {
		return nil, err
	}
	if ferr := stored.flush(kept); ferr != nil {
		err = errors.Join(err, ferr)
		state.Partial, state.Why = true, ferr.Error()
	}
	status := statusDone
	if state.Partial {
		status = statusPartial
	}
	if r.runs != nil {
		err = errors.Join(err, r.runs.save(kept, &r.rec, status, state))
	}
	report, rerr := r.rec.report(state)
	return report, errors.Join(err, rerr)
}

// writeVerdict writes an alert and its verdict on a line.
func (r *replayRun) writeVerdict(v backtest.Verdict, a *alertv1.Alert) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if r.before == nil {
		_, err = fmt.Fprintf(r.a.out, "%s\n", data)
		return err
	}
	_, err = fmt.Fprintf(r.a.out, "{\"verdict\":%q,%s\n", v.String(), data[1:])
	return err
}

func (r *replayRun) close() {
	if r.file != nil {
		_ = r.file.Close() // only read from
	}
	if r.store != nil {
		_ = r.store.Close()
	}
	if r.bus != nil {
		r.bus.Close()
	}
}
