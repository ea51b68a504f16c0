package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// timeline draws the events that a correlation rule put together: one line each, with the time since the first one and,
// where there are several, a column for each node.
func timeline(b *strings.Builder, events []alertv1.Event) {
	if len(events) == 0 {
		return
	}
	p := clickhouse.Printable
	var nodes []string
	column := map[string]int{}
	steps, kinds := 0, 0
	for _, e := range events {
		if _, ok := column[e.Node]; !ok {
			column[e.Node] = len(nodes)
			nodes = append(nodes, e.Node)
		}
		steps, kinds = max(steps, len(e.Step)), max(kinds, len(e.Kind))
	}
	fmt.Fprintf(b, "timeline   %d events on %s\n", len(events), p(strings.Join(nodes, ", ")))
	for _, e := range events {
		marks := make([]byte, len(nodes))
		for i := range marks {
			marks[i] = '|'
		}
		marks[column[e.Node]] = 'o'
		at := time.Duration(e.Time - events[0].Time)
		fmt.Fprintf(b, "  %s +%-12s %s  %-*s %-*s %s %d", time.Unix(0, e.Time).Local().Format("15:04:05.000"), at.Round(time.Millisecond), marks, steps, p(e.Step), kinds, p(e.Kind), p(e.Process), e.PID)
		if len(nodes) > 1 {
			fmt.Fprintf(b, " on %s", p(e.Node))
		}
		if e.Cmdline != "" {
			fmt.Fprintf(b, "  %s", p(e.Cmdline))
		}
		if e.Detail != "" {
			fmt.Fprintf(b, "  (%s)", p(e.Detail))
		}
		fmt.Fprintf(b, "  #%d\n", e.Seq)
	}
}
