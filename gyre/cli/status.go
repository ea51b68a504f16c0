package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/gyre/instance"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// status is what `gyre status` shows; with --json as it stands.
type status struct {
	Instance *instanceStatus    `json:"instance,omitempty"`
	Rules    *rulesStatus       `json:"rules,omitempty"`
	Events   *eventsStatus      `json:"events,omitempty"`
	Store    *storeStatus       `json:"store,omitempty"`
	Streams  []bus.StreamStatus `json:"streams"`
	// RuleSets are the current versions in the bucket, which evaluators may have refused.
	RuleSets []versionInfo `json:"rule_sets,omitempty"`
	// Correlation is left out if nothing is correlated.
	Correlation *correlateStatus `json:"correlation,omitempty"`
}

type instanceStatus struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Admin   string    `json:"admin"`
}

type rulesStatus struct {
	Loaded int    `json:"loaded"`
	Digest string `json:"digest"`
	// Set is the version of the bucket's rule set in force, NAME@DIGEST, and KeyID the key whose signature was verified.
	Set   string `json:"rule_set,omitempty"`
	KeyID string `json:"key_id,omitempty"`
	// Error is why the last reload was refused.
	Error string `json:"error,omitempty"`
	// Failing counts by rule the events for which its condition ended in an error, which is no match.
	Failing map[string]uint64 `json:"failing,omitempty"`
	// Interpreted counts the rules that cannot be compiled and run slower.
	Interpreted int `json:"interpreted,omitempty"`
}

type eventsStatus struct {
	Seen      uint64            `json:"seen"`
	Evaluated uint64            `json:"evaluated"`
	Alerts    uint64            `json:"alerts"`
	Stored    uint64            `json:"alerts_stored"`
	Lost      map[string]uint64 `json:"lost"`
	// KeptBack counts what the capture policy keeps back in the kernel: muted and folded.
	KeptBack map[string]uint64 `json:"kept_back,omitempty"`
	// Policy is the capture policy in force: where it comes from and its digest.
	Policy string       `json:"capture_policy,omitempty"`
	Spool  *spoolStatus `json:"spool,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := a.connects(&cobra.Command{Use: "status", Short: "Show streams, consumers, lag, events seen and lost, rules", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		ctx, stop := interruptible()
		defer stop()
		st, err := a.status(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			e := json.NewEncoder(a.out)
			e.SetIndent("", "  ")
			return e.Encode(st)
		}
		return a.writeStatus(st)
	}})
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

func (a *app) status(ctx context.Context) (*status, error) {
	b, info, err := a.openBus(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	st := &status{}
	if st.Streams, err = b.Status(ctx); err != nil {
		return nil, err
	}
	if st.RuleSets, err = ruleSets(ctx, b); err != nil {
		return nil, err
	}
	if info.PID != 0 {
		st.Instance = &instanceStatus{info.PID, info.Started, info.Admin}
		if err := st.fromMetrics(ctx, info); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// fromMetrics reads the instance's metrics.
func (s *status) fromMetrics(ctx context.Context, info instance.Info) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+info.Admin+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return fmt.Errorf("read metrics of process %d: %w", info.PID, err)
	}
	defer func() { _ = resp.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return fmt.Errorf("read metrics of process %d: %w", info.PID, err)
	}
	s.Events = &eventsStatus{
		Seen: sum(families["gyre_collector_events_total"]), Evaluated: sum(families["gyre_evaluator_events_total"]),
		Alerts: sum(families["gyre_evaluator_alerts_total"]), Stored: sum(families["gyre_sink_stored_total"]), Lost: map[string]uint64{}, KeptBack: map[string]uint64{},
	}
	s.Events.Spool = spoolOf(families)
	s.Correlation = correlationOf(families)
	s.Store = storeOf(families)
	s.Store.explain(ctx, info)
	for _, m := range families["gyre_collector_lost_events_total"].GetMetric() {
		if n := uint64(value(m)); n > 0 {
			s.Events.Lost[label(m, "reason")] += n
		}
	}
	for _, m := range families["gyre_collector_kept_back_events_total"].GetMetric() {
		s.Events.KeptBack[label(m, "reason")] += uint64(value(m))
	}
	for _, m := range families["gyre_collector_capture_policy_info"].GetMetric() {
		s.Events.Policy = label(m, "source") + " " + label(m, "digest")
	}
	for _, m := range families["gyre_rules_info"].GetMetric() {
		s.Rules = &rulesStatus{
			Loaded: int(value(m)), Digest: label(m, "digest"), Error: label(m, "error"), Failing: map[string]uint64{},
			Interpreted: int(sum(families["gyre_evaluator_rules_interpreted"])),
		}
		for _, m := range families["gyre_evaluator_rule_set"].GetMetric() {
			s.Rules.Set, s.Rules.KeyID = label(m, "rule_set"), label(m, "key_id")
		}
		for _, m := range families["gyre_evaluator_rule_errors_total"].GetMetric() {
			if n := uint64(value(m)); n > 0 {
				s.Rules.Failing[label(m, "rule")] = n
			}
		}
	}
	return nil
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}

func sum(f *dto.MetricFamily) uint64 {
	total := 0.0
	for _, m := range f.GetMetric() {
		total += value(m)
	}
	return uint64(total)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func (a *app) writeStatus(s *status) error {
	var b strings.Builder
	if i := s.Instance; i != nil {
		fmt.Fprintf(&b, "instance   process %d, up %s, metrics http://%s/metrics\n", i.PID, time.Since(i.Started).Round(time.Second), i.Admin)
	}
	if r := s.Rules; r != nil {
		fmt.Fprintf(&b, "rules      %d loaded, digest %s\n", r.Loaded, r.Digest)
		if r.Set != "" {
			fmt.Fprintf(&b, "           rule set %s, %s\n", r.Set, signedBy(r.KeyID, "signature verified, key ", "no signature asked for"))
		}
		if r.Error != "" {
			fmt.Fprintf(&b, "           LAST RELOAD REFUSED, the old rules are in force: %s\n", r.Error)
		}
	}
	if r := s.Rules; r != nil {
		if r.Interpreted > 0 {
			fmt.Fprintf(&b, "           %d not compiled, they run slower (gyre rules check says why)\n", r.Interpreted)
		}
		for _, id := range sortedKeys(r.Failing) {
			fmt.Fprintf(&b, "           RULE %s FAILED for %d events, which it did not see\n", id, r.Failing[id])
		}
	}
	for _, i := range s.RuleSets {
		fmt.Fprintf(&b, "rule set   %s@%s in the bucket, revision %d of %s by %s, %s", i.RuleSet, rulesv1.Short(i.Digest), i.Revision,
			i.Stored.Local().Format("2006-01-02 15:04:05"), orDash(clickhouse.Printable(i.Author)), signedBy(i.KeyID, "signed by key ", "not signed"))
		if i.Error != "" {
			fmt.Fprintf(&b, ", %s", i.summary())
		}
		b.WriteByte('\n')
	}
	if e := s.Events; e != nil {
		fmt.Fprintf(&b, "events     %d seen, %d evaluated, %d alerts, %d stored\n", e.Seen, e.Evaluated, e.Alerts, e.Stored)
		if e.Policy != "" {
			fmt.Fprintf(&b, "capture    policy %s\n", e.Policy)
		}
		for _, reason := range sortedKeys(e.KeptBack) {
			fmt.Fprintf(&b, "kept back  %d: %s\n", e.KeptBack[reason], reason)
		}
		if len(e.Lost) == 0 {
			b.WriteString("lost       none\n")
		}
		for _, reason := range sortedKeys(e.Lost) {
			fmt.Fprintf(&b, "lost       %d: %s\n", e.Lost[reason], reason)
		}
		e.Spool.write(&b)
	}
	s.Store.write(&b)
	s.Correlation.write(&b)
	b.WriteString("\nSTREAM     MESSAGES        BYTES  OLDEST     CONSUMER            LAG  UNACKED  REDELIVERED\n")
	for _, st := range s.Streams {
		oldest := "-"
		if st.Messages > 0 {
			oldest = time.Since(st.FirstTime).Round(time.Second).String()
		}
		fmt.Fprintf(&b, "%-9s %9d %12s  %-10s", st.Name, st.Messages, humanize.IBytes(st.Bytes), oldest)
		if len(st.Consumers) == 0 {
			b.WriteByte('\n')
		}
		for i, c := range st.Consumers {
			if i > 0 {
				fmt.Fprintf(&b, "%46s", "")
			}
			fmt.Fprintf(&b, " %-16s %6d %8d %12d", c.Name, c.Lag, c.AckPending, c.Redelivered)
			if c.Lost > 0 {
				fmt.Fprintf(&b, "  LOST %d MESSAGES TO STREAM LIMITS", c.Lost)
			}
			b.WriteByte('\n')
		}
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func signedBy(key, signed, not string) string {
	if key == "" {
		return not
	}
	return signed + key
}

func sortedKeys(m map[string]uint64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
