package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/notify/stdout"
)

type alertFlags struct {
	since    time.Duration
	limit    int
	rule     string
	node     string
	priority string
	follow   bool
	json     bool
}

func (a *app) alertsCommand() *cobra.Command {
	var f alertFlags
	c := a.connects(&cobra.Command{Use: "alerts", Short: "List stored alerts, or follow new ones", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		ctx, stop := interruptible()
		defer stop()
		if f.follow {
			return a.followAlerts(ctx, f)
		}
		return a.listAlerts(ctx, f)
	}})
	c.Flags().DurationVar(&f.since, "since", 24*time.Hour, "how far back")
	c.Flags().IntVar(&f.limit, "limit", 100, "how many at the most")
	c.Flags().StringVar(&f.rule, "rule", "", "only those of this rule (id or name)")
	c.Flags().StringVar(&f.node, "node", "", "only those of this node")
	c.Flags().StringVar(&f.priority, "priority", "", "only those of this priority or more severe ones")
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "show new alerts as they come")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object per line")
	var asJSON bool
	show := a.connects(&cobra.Command{Use: "show ID", Short: "Show one alert with its process tree", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		ctx, stop := interruptible()
		defer stop()
		return a.showAlert(ctx, args[0], asJSON)
	}})
	show.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	c.AddCommand(show)
	return c
}

// atLeast lists the priorities that are as severe as the one named or more.
func atLeast(name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	p, err := alertv1.ParsePriority(name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, q := range alertv1.Priorities() {
		if q <= p {
			out = append(out, q.String())
		}
	}
	return out, nil
}

func (a *app) writeAlert(al *alertv1.Alert, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(al)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s\n", b)
		return err
	}
	_, err := fmt.Fprintf(a.out, "%s  %s  %s\n", al.When().Local().Format("2006-01-02"), stdout.Line(al, isTerminal(a.out)), al.ID)
	return err
}

func (a *app) listAlerts(ctx context.Context, f alertFlags) error {
	prio, err := atLeast(f.priority)
	if err != nil {
		return err
	}
	s, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	list, err := s.Alerts(ctx, clickhouse.Filter{Since: time.Now().Add(-f.since), Limit: f.limit, Rule: f.rule, Node: f.node, Priority: prio})
	if err != nil {
		return err
	}
	for i := len(list) - 1; i >= 0; i-- { // the newest last, as in a log
		if err := a.writeAlert(&list[i], f.json); err != nil {
			return err
		}
	}
	if len(list) == 0 && !f.json {
		_, err = fmt.Fprintf(a.out, "no alerts in the last %s\n", f.since)
	}
	return err
}

func (a *app) followAlerts(ctx context.Context, f alertFlags) error {
	limit := alertv1.Debug
	if f.priority != "" {
		var err error
		if limit, err = alertv1.ParsePriority(f.priority); err != nil {
			return err
		}
	}
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.Tail(ctx, bus.TailConfig{Stream: bus.StreamAlerts, Filter: subject.AlertFilter("", "", f.node)}, func(m bus.Stored) error {
		al, err := alertv1.Unmarshal(m.Data)
		if err != nil {
			return err
		}
		if al.Priority > limit || f.rule != "" && f.rule != al.RuleID && f.rule != al.Rule {
			return nil
		}
		return a.writeAlert(&al, f.json)
	})
}

func (a *app) showAlert(ctx context.Context, id string, asJSON bool) error {
	if _, err := alertv1.ParseID(id); err != nil {
		return err
	}
	s, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	list, err := s.Alerts(ctx, clickhouse.Filter{ID: id, Limit: 1})
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("no alert has the id %s", id)
	}
	al := &list[0]
	if asJSON {
		return a.writeAlert(al, true)
	}
	p := clickhouse.Printable
	var b strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, p(value))
		}
	}
	row("id", al.ID.String())
	row("time", al.When().Format(time.RFC3339Nano))
	row("rule", al.Rule+" ("+al.RuleID+")")
	row("priority", al.Priority.String())
	row("node", al.Node)
	row("event", fmt.Sprintf("%s, number %d of boot %s", al.Event, al.Seq, al.BootID))
	row("output", al.Output)
	row("tags", strings.Join(al.Tags, " "))
	row("mitre", strings.Join(al.MITRE, " "))
	row("user", fmt.Sprintf("%s (%d)", al.User.Name, al.User.UID))
	row("container", strings.TrimSpace(al.Container.ID+" "+al.Container.Name+" "+al.Container.Image))
	row("pod", strings.Trim(al.K8s.Namespace+"/"+al.K8s.Pod, "/"))
	row("ruleset", al.Ruleset)
	if len(al.Fields) > 0 {
		b.WriteString("fields\n")
		for _, f := range al.Fields {
			fmt.Fprintf(&b, "  %-28s %s\n", f.Name, p(clickhouse.FieldText(f.Value)))
		}
	}
	timeline(&b, al.Events)
	if len(al.Lineage) > 0 {
		b.WriteString("processes\n")
		for i, l := range slices.Backward(al.Lineage) {
			fmt.Fprintf(&b, "  %s%d %s  %s  [%s]\n", strings.Repeat("  ", len(al.Lineage)-1-i), l.PID, p(l.Name), p(l.Cmdline), p(l.Exe))
		}
	}
	_, err = io.WriteString(a.out, b.String())
	return err
}

func (a *app) queryCommand() *cobra.Command {
	var format string
	var raw bool
	c := a.connects(&cobra.Command{
		Use: "query SQL", Short: "Ask ClickHouse", Args: cobra.ExactArgs(1),
		Long:    "Asks ClickHouse; \"-\" reads the question from standard input. Start with the views alerts and alerts_per_minute.",
		Example: `  gyre query "SELECT rule, count() FROM alerts GROUP BY rule ORDER BY 2 DESC"`,
		RunE: func(_ *cobra.Command, args []string) error {
			if format != "table" && format != "json" && format != "csv" {
				return fmt.Errorf("unknown format %q, want table, json or csv", format)
			}
			if raw && format != "csv" {
				return fmt.Errorf("--raw is for --format csv, not for %s, which has nothing added", format)
			}
			sql := args[0]
			if sql == "-" {
				b, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
				if err != nil {
					return fmt.Errorf("read question: %w", err)
				}
				sql = string(b)
			}
			ctx, stop := interruptible()
			defer stop()
			s, err := a.openStore(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			r, err := s.Query(ctx, sql)
			if err != nil {
				return err
			}
			if raw {
				return r.WriteCSV(a.out, true)
			}
			return r.Write(a.out, format)
		},
	})
	c.Flags().BoolVar(&raw, "raw", false, "with csv: leave texts that a spreadsheet takes for formulas as they are; otherwise they begin with '")
	c.Flags().StringVar(&format, "format", "table", "table, json (one object per line) or csv")
	return c
}

type eventFlags struct {
	filter, node string
	since        time.Duration
	limit        int
}

func (a *app) eventsCommand() *cobra.Command {
	var f eventFlags
	c := a.connects(&cobra.Command{
		Use: "events", Short: "Tail enriched events as JSON lines", Args: cobra.NoArgs,
		Example: `  gyre events --filter 'evt.type == "connect" && fd.sport == 443'`,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := interruptible()
			defer stop()
			return a.events(ctx, f)
		},
	})
	c.Flags().StringVar(&f.filter, "filter", "", "CEL condition over the fields that `gyre fields` lists")
	c.Flags().StringVar(&f.node, "node", "", "only events of this node")
	c.Flags().DurationVar(&f.since, "since", 0, "start this far back; 0 shows new events only")
	c.Flags().IntVarP(&f.limit, "limit", "n", 0, "stop after this many events")
	return c
}

// errEnough ends a tail that has shown what was asked for.
var errEnough = errors.New("enough")

func (a *app) events(ctx context.Context, f eventFlags) error {
	var filter *ruleset.Filter
	if f.filter != "" {
		var err error
		if filter, err = ruleset.NewFilter(f.filter); err != nil {
			return err
		}
	}
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	cfg := bus.TailConfig{Stream: bus.StreamEnriched, Filter: subject.EventFilter(subject.PrefixEnriched, "", f.node)}
	if f.since > 0 {
		cfg.Since = time.Now().Add(-f.since)
	}
	dec, r, v := eventv1.NewDecoder(), eventv1.NewReader(), field.NewView()
	var batch eventv1.Batch
	var ev eventv1.Event
	var line []byte
	shown := 0
	err = b.Tail(ctx, cfg, func(m bus.Stored) error {
		if err := dec.Decode(m.Data, &batch); err != nil {
			return fmt.Errorf("decode batch %d: %w", m.Seq, err)
		}
		v.Batch(&batch)
		for r.Reset(&batch); r.Next(&ev); {
			v.Event(&ev)
			if filter != nil {
				if ok, err := filter.Match(v); err != nil {
					return fmt.Errorf("filter: %w", err)
				} else if !ok {
					continue
				}
			}
			line = append(field.EventJSON(line[:0], v), '\n')
			if _, err := a.out.Write(line); err != nil {
				return err
			}
			if shown++; f.limit > 0 && shown >= f.limit {
				return errEnough
			}
		}
		return r.Err()
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
