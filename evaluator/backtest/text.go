package backtest

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Partial {
		fmt.Fprintf(&b, "PARTIAL: only a part of the range was replayed: %s\n\n", printable(r.Why))
	}
	if r.ID != "" {
		fmt.Fprintf(&b, "replay     %s\n", r.ID)
	}
	fmt.Fprintf(&b, "range      %s to %s, messages %d to %d\n", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339), r.FirstSeq, r.LastSeq)
	fmt.Fprintf(&b, "events     %d in %d batches of %d nodes", r.Events, r.Batches, r.NodeCount)
	if r.Selected != r.Events {
		fmt.Fprintf(&b, ", %d selected", r.Selected)
	}
	fmt.Fprintf(&b, "; %.1f s, %.0f events/s\n", r.Seconds, r.EventsPerSecond)
	for _, x := range []struct {
		n    uint64
		what string
	}{{r.Duplicates, "batches were stored twice and count once"}, {r.Bad, "batches do not decode"}, {r.Missing, "messages of the range are gone"}, {r.Lost, "events were lost on nodes"}, {r.Forgotten, "keys of correlation rules were forgotten for lack of room"}} {
		if x.n > 0 {
			fmt.Fprintf(&b, "           %d %s\n", x.n, x.what)
		}
	}
	if r.Before != nil {
		fmt.Fprintf(&b, "before     %s: %d rules, %.19s\n", printable(r.Before.Name), r.Before.Rules, r.Before.Digest)
	}
	fmt.Fprintf(&b, "after      %s: %d rules, %.19s\n", printable(r.After.Name), r.After.Rules, r.After.Digest)
	a := r.Alerts
	if r.Before != nil {
		fmt.Fprintf(&b, "alerts     %d before, %d after: %d new, %d vanished\n", a.Before, a.After, a.New, a.Vanished)
	} else {
		fmt.Fprintf(&b, "alerts     %d\n", a.After)
	}
	fmt.Fprintf(&b, "expected   %s a day, %s a day and node%s\n", amount(a.PerDay), amount(a.PerNodeDay), r.basis())
	r.table(&b)
	for i := range r.Rules {
		r.Rules[i].text(&b, r.Before != nil)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) table(b *strings.Builder) {
	if len(r.Rules) == 0 {
		b.WriteString("\nno rule raises an alert\n")
		return
	}
	width := len("RULE")
	for _, x := range r.Rules {
		width = max(width, len(printable(x.ID)))
	}
	fmt.Fprintf(b, "\n%-*s  %10s %10s %10s %10s %12s %12s %6s\n", width, "RULE", "BEFORE", "AFTER", "NEW", "VANISHED", "A DAY", "DAY AND NODE", "NODES")
	for _, x := range r.Rules {
		before := fmt.Sprint(x.Before)
		if r.Before == nil {
			before = "-"
		}
		fmt.Fprintf(b, "%-*s  %10s %10d %10d %10d %12s %12s %6d\n", width, printable(x.ID), before, x.After, x.New, x.Vanished, amount(x.PerDay), amount(x.PerNodeDay), x.Nodes)
	}
}

func (x *RuleReport) text(b *strings.Builder, compared bool) {
	if x.New == 0 && x.Vanished == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s  (%s, %s)\n", printable(x.ID), printable(x.Name), x.Priority)
	what := "alerts"
	if compared {
		what = "new"
	}
	examples(b, what, x.New, x.NewExamples)
	examples(b, "vanished", x.Vanished, x.VanishedExamples)
	if x.New == 0 || len(x.Noisiest) == 0 {
		return
	}
	b.WriteString("  noisiest\n")
	for _, k := range x.Noisiest {
		fmt.Fprintf(b, "    %d of %d (%.0f %%):", k.Count, x.After, 100*float64(k.Count)/float64(x.After))
		for _, v := range k.Values {
			fmt.Fprintf(b, " %s=%s", v.Field, printable(v.Value))
		}
		b.WriteByte('\n')
	}
	if e := x.Noisiest[0].Exception; e != "" {
		b.WriteString("  silence the first of them with\n")
		for line := range strings.Lines(e) {
			b.WriteString("    " + line)
		}
	}
}

func examples(b *strings.Builder, what string, n uint64, list []alertv1.Alert) {
	if n == 0 {
		return
	}
	fmt.Fprintf(b, "  %s: %d, such as\n", what, n)
	for i := range list {
		a := &list[i]
		fmt.Fprintf(b, "    %s %s %s\n      %s\n", a.When().Format(time.RFC3339), printable(a.Node), a.ID, printable(a.Output))
	}
}

// basis warns of expectations that little time is behind.
func (r *Report) basis() string {
	if r.Days >= 0.25 {
		return ""
	}
	return fmt.Sprintf(", as far as %s can tell", time.Duration(r.Days*24*float64(time.Hour)).Round(time.Second))
}

// amount is a number with as many digits as matter.
func amount(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f < 0.01:
		return fmt.Sprintf("%.1e", f)
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	default:
		return fmt.Sprintf("%.0f", f)
	}
}

// printable escapes what would control a terminal.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	q := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
