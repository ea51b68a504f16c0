package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

type incidentFlags struct {
	since time.Duration
	limit int
	score int
	json  bool
}

func (a *app) incidentsCommand() *cobra.Command {
	var f incidentFlags
	c := a.connects(&cobra.Command{
		Use: "incidents", Short: "List alerts that belong together, the highest score first", Args: cobra.NoArgs,
		Long: "Groups stored alerts into incidents: alerts that share a process, itself or an ancestor, within an hour. Alerts of\ncorrelation rules tie together the events that they name, also on several nodes.",
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := interruptible()
			defer stop()
			return a.listIncidents(ctx, f)
		},
	})
	c.Flags().IntVar(&f.limit, "limit", 20, "how many at the most")
	c.Flags().IntVar(&f.score, "min-score", 0, "only those of this score or a higher one")
	c.PersistentFlags().DurationVar(&f.since, "since", 24*time.Hour, "how far back")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "one JSON object per line")
	c.AddCommand(a.connects(&cobra.Command{Use: "show ID", Short: "Show the alerts of one incident; the first 8 characters of its id are enough", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		ctx, stop := interruptible()
		defer stop()
		return a.showIncident(ctx, args[0], f)
	}}))
	return c
}

func (a *app) incidents(ctx context.Context, since time.Duration) ([]clickhouse.Incident, error) {
	s, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return s.Incidents(ctx, time.Now().Add(-since))
}

func (a *app) listIncidents(ctx context.Context, f incidentFlags) error {
	list, err := a.incidents(ctx, f.since)
	if err != nil {
		return err
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"id", "score", "priority", "start", "for", "alerts", "nodes", "rules"})
	shown := 0
	for _, x := range list {
		if x.Score < f.score || shown >= f.limit {
			continue
		}
		shown++
		if f.json {
			if err := json.NewEncoder(a.out).Encode(x); err != nil {
				return err
			}
			continue
		}
		t.AppendRow(table.Row{
			x.ID.String()[:8], x.Score, x.Priority, x.Start.Local().Format("2006-01-02 15:04:05"), x.End.Sub(x.Start).Round(time.Second), len(x.Alerts),
			clickhouse.Printable(some(x.Nodes, 3)), clickhouse.Printable(some(x.Rules, 4)),
		})
	}
	if f.json {
		return nil
	}
	if shown == 0 {
		_, err = fmt.Fprintf(a.out, "no incidents in the last %s\n", f.since)
		return err
	}
	_, err = fmt.Fprintln(a.out, t.Render())
	return err
}

// some is the first n of a list and how many more there are.
func some(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, " ")
	}
	return fmt.Sprintf("%s +%d", strings.Join(list[:n], " "), len(list)-n)
}

func (a *app) showIncident(ctx context.Context, id string, f incidentFlags) error {
	if len(id) < 8 {
		return fmt.Errorf("%q is too short for an id, at least 8 characters are needed", id)
	}
	list, err := a.incidents(ctx, f.since)
	if err != nil {
		return err
	}
	for _, x := range list {
		if !strings.HasPrefix(x.ID.String(), id) {
			continue
		}
		if f.json {
			return json.NewEncoder(a.out).Encode(x)
		}
		_, err := io.WriteString(a.out, incidentText(&x))
		return err
	}
	return daemon.Hint(fmt.Errorf("no incident of the last %s has the id %s", f.since, id), "look further back with --since")
}

func incidentText(x *clickhouse.Incident) string {
	p := clickhouse.Printable
	var b strings.Builder
	fmt.Fprintf(&b, "id         %s\nscore      %d\npriority   %s\nnodes      %s\nmitre      %s\nstart      %s\nend        %s\nalerts     %d\n",
		x.ID, x.Score, x.Priority, p(strings.Join(x.Nodes, " ")), p(strings.Join(x.MITRE, " ")), x.Start.Format(time.RFC3339Nano), x.End.Format(time.RFC3339Nano), len(x.Alerts))
	for _, al := range x.Alerts {
		fmt.Fprintf(&b, "  %s +%-9s %-13s %s: %s [%s]  %s\n", al.Time.Local().Format("15:04:05.000"), al.Time.Sub(x.Start).Round(time.Millisecond), al.Priority, p(al.Rule), p(al.Output), p(al.Node), al.ID.String()[:8])
	}
	return b.String()
}
