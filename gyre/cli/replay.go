package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/backtest"
)

// Exit codes of `gyre replay` beside 0 and 1.
const (
	exitTooMany exitCode = 3   // more alerts than --fail-if-more-than
	exitPartial exitCode = 130 // Ctrl-C: the results are those of a part
)

// replaySpec says what is replayed; it is kept with a replay, so that --resume does the same.
type replaySpec struct {
	Rules     []string  `json:"rules"`
	Diff      []string  `json:"diff,omitempty"`
	NoBuiltin bool      `json:"no_builtin,omitempty"`
	AllFalco  bool      `json:"all_falco,omitempty"`
	Nodes     []string  `json:"nodes,omitempty"`
	Source    string    `json:"source,omitempty"`
	Where     string    `json:"where,omitempty"`
	File      string    `json:"file,omitempty"`
	FromSeq   uint64    `json:"from_seq,omitempty"`
	ToSeq     uint64    `json:"to_seq,omitempty"`
	FromTime  time.Time `json:"from_time,omitzero"`
	ToTime    time.Time `json:"to_time,omitzero"`
	Store     bool      `json:"store,omitempty"`
}

type replayFlags struct {
	spec           replaySpec
	since, length  time.Duration
	from, to, mark string
	workers        int
	rate           float64
	resume         string
	json, quiet    bool
	alerts         bool
	html           string
	failOver       int64
	noVerify       bool
	on             string
	load           loadFlags
}

// Where a replay is evaluated.
const (
	onThis    = "this"
	onCluster = "cluster"
	// clusterParallel is how many ranges evaluators are asked for at once.
	clusterParallel = 8
)

func (a *app) replayCommand() *cobra.Command {
	var f replayFlags
	c := a.connects(&cobra.Command{
		Use: "replay", Short: "Evaluate the past against rules, and compare rule sets on it", Args: cobra.NoArgs,
		Long: "Reads enriched batches of the past, without disturbing live work, evaluates them against a rule set, and reports what it\n" +
			"would have alerted. With --diff a second rule set is evaluated beside it, and the report says what is new and what vanished.\n" +
			"Nothing is sent anywhere, and nothing stored but with --store.\n\n" +
			"A rule set is files and directories (of gyre or Falco), \"current\" (what the evaluators have in force), or \"builtin\"; several are put\n" +
			"over one another. Without \"current\" the shipped rules lie below, unless --no-builtin.",
		Example: "  gyre replay --rules new/ --diff current --since 24h\n" +
			"  gyre replay --rules current --rules extra.yaml --diff current --since 24h --fail-if-more-than 100\n" +
			"  gyre replay --rules falco_rules.yaml --no-builtin --from 2026-05-01T00:00:00Z --to 2026-05-02T00:00:00Z --html report.html\n" +
			"  gyre replay --from-file session.gyre --rules new/",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := interruptible()
			defer stop()
			if f.load.asLoad {
				return a.replayAsLoad(ctx, &f)
			}
			return a.replay(ctx, &f)
		},
	})
	s, fl := &f.spec, c.Flags()
	fl.StringSliceVar(&s.Rules, "rules", []string{"current"}, "rule set that is tried; may be repeated")
	fl.StringSliceVar(&s.Diff, "diff", nil, "rule set to compare with; may be repeated")
	fl.BoolVar(&s.NoBuiltin, "no-builtin", false, "do not put the shipped rules below rule files")
	fl.BoolVar(&s.AllFalco, "falco-match-all", false, "each matching rule from Falco files counts, not just the first one")
	fl.DurationVar(&f.since, "since", 0, "start this far back")
	fl.StringVar(&f.from, "from", "", "start at a time (RFC 3339), a number of the stream, or mark:NAME")
	fl.StringVar(&f.to, "to", "", "end before a time, at a number of the stream, or at mark:NAME")
	fl.StringVar(&f.mark, "mark", "", "start at a mark, as --from mark:NAME")
	fl.DurationVar(&f.length, "for", 0, "end this long after the start")
	fl.StringVar(&s.File, "from-file", "", "replay a recording that gyre record made")
	fl.BoolVar(&f.noVerify, "no-verify", false, "do not compare a recording with its checksum first; blocks are checked all the same")
	fl.StringSliceVar(&s.Nodes, "node", nil, "only events of this node, with * and ?; may be repeated")
	fl.StringVar(&s.Source, "source", "", "only events of this source, such as syscall")
	fl.StringVar(&s.Where, "where", "", "only events that this CEL condition holds for")
	fl.IntVar(&f.workers, "workers", 0, "batches evaluated at once; 0 means one per CPU. With --on cluster ranges, 0 means 8")
	fl.StringVar(&f.on, "on", onThis, "where events are evaluated: \"this\" program, or the \"cluster\": the evaluators that run, a range each")
	fl.Float64Var(&f.rate, "rate", 0, "events per second at the most; 0 sets no bound")
	fl.StringVar(&f.resume, "resume", "", "go on with a replay that was interrupted, by its id")
	fl.BoolVar(&s.Store, "store", false, "store the alerts in ClickHouse, apart from live ones, in the table replay_alerts")
	fl.BoolVar(&f.json, "json", false, "write the report as a JSON object")
	fl.BoolVar(&f.alerts, "alerts", false, "write each alert as a JSON object on a line, with its verdict, instead of the report")
	fl.StringVar(&f.html, "html", "", "write the report to a file that browsers show, too")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	fl.Int64Var(&f.failOver, "fail-if-more-than", -1, "exit with code 3 if there are more new alerts than this (without --diff: more alerts)")
	f.load.add(fl)
	c.AddCommand(a.markCommand(), a.replayListCommand(), a.replayShowCommand(), a.replayDeleteCommand())
	return c
}

// replay runs one and writes its report.
func (a *app) replay(ctx context.Context, f *replayFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	r, err := a.openReplay(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	report, runErr := r.run(ctx)
	if report == nil {
		return runErr
	}
	if err := a.writeReport(report, f); err != nil {
		return errors.Join(runErr, err)
	}
	switch {
	case runErr != nil:
		return runErr
	case report.Partial:
		hint := ""
		if r.runs != nil {
			hint = fmt.Sprintf(": gyre replay --resume %s goes on", r.rec.ID)
		}
		fmt.Fprintf(a.err, "interrupted, the results are those of a part%s\n", hint)
		return exitPartial
	case f.failOver >= 0 && report.Alerts.New > uint64(f.failOver):
		fmt.Fprintf(a.err, "%d alerts, more than %d\n", report.Alerts.New, f.failOver)
		return exitTooMany
	}
	return nil
}

func (f *replayFlags) check() error {
	s := &f.spec
	starts := 0
	for _, set := range []bool{f.since != 0, f.from != "", f.mark != "", s.File != "", f.resume != ""} {
		if set {
			starts++
		}
	}
	switch {
	case starts == 0:
		return daemon.Hint(errors.New("it is not said where to start"), "add --since 24h, --from TIME, --mark NAME or --from-file FILE")
	case starts > 1:
		return errors.New("only one of --since, --from, --mark, --from-file and --resume can be given")
	case f.since < 0 || f.length < 0:
		return errors.New("--since and --for are durations above 0")
	case f.to != "" && f.length > 0:
		return errors.New("only one of --to and --for can be given")
	case s.File != "" && (f.to != "" || f.length > 0):
		return errors.New("--from-file replays all of a recording: leave --to and --for out")
	case f.on != onThis && f.on != onCluster:
		return fmt.Errorf("--on is %q, want this or cluster", f.on)
	case f.on == onCluster && s.File != "":
		return errors.New("evaluators do not have the file of a recording: leave --on cluster out")
	case f.workers < 0 || f.workers > 1024:
		return fmt.Errorf("--workers is %d, want 0 to 1024", f.workers)
	case f.rate < 0:
		return fmt.Errorf("--rate is %g, want 0 or more", f.rate)
	case f.json && f.alerts:
		return errors.New("only one of --json and --alerts can be given")
	}
	return nil
}

// writeReport writes a report where the flags say.
func (a *app) writeReport(r *backtest.Report, f *replayFlags) error {
	if f.html != "" {
		page, err := r.HTML()
		if err != nil {
			return err
		}
		if err := os.WriteFile(f.html, page, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	switch {
	case f.alerts:
		return nil
	case f.json:
		data, err := r.JSON()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s\n", data)
		return err
	default:
		return r.WriteText(a.out)
	}
}
