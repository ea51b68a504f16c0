package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// incidentGap is how long may lie between two alerts that share a process for them to belong together.
const incidentGap = time.Hour

// maxIncidentAlerts bounds the alerts that are grouped at once; of more the newest count.
const maxIncidentAlerts = 20_000

// Incident is alerts that belong together: each shares a process with another one of them, itself or an ancestor, within an
// hour; alerts of correlation rules tie together what they name, also on several nodes.
type Incident struct {
	// ID is made of the first alert's.
	ID    alertv1.ID `json:"id"`
	Start time.Time  `json:"start"`
	End   time.Time  `json:"end"`
	// Score grows with the priorities of the rules, each counted once, and with the number of techniques and nodes.
	Score    int              `json:"score"`
	Priority alertv1.Priority `json:"priority"`
	Nodes    []string         `json:"nodes"`
	MITRE    []string         `json:"mitre"`
	Rules    []string         `json:"rules"`
	Alerts   []IncidentAlert  `json:"alerts"`
}

// IncidentAlert is an alert as an incident lists it, in the order of time.
type IncidentAlert struct {
	ID       alertv1.ID       `json:"id"`
	Time     time.Time        `json:"time"`
	RuleID   string           `json:"rule_id"`
	Rule     string           `json:"rule"`
	Priority alertv1.Priority `json:"priority"`
	Node     string           `json:"node"`
	Output   string           `json:"output"`

	mitre []string
	links []string
}

// Incidents groups the alerts since a time, the highest score first.
func (s *Store) Incidents(ctx context.Context, since time.Time) ([]Incident, error) {
	alerts, err := s.incidentAlerts(ctx, since)
	if err != nil {
		return nil, err
	}
	return group(alerts), nil
}

func (s *Store) incidentAlerts(ctx context.Context, since time.Time) ([]IncidentAlert, error) {
	tied := map[string][]string{}
	rows, err := s.conn.Query(s.limited(ctx), "SELECT toString(alert_id), groupUniqArray(exec_id) FROM alert_events WHERE alert_time >= fromUnixTimestamp64Nano($1) AND exec_id != '' GROUP BY alert_id", since.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("read events of alerts: %w", err)
	}
	for rows.Next() {
		var id string
		var execs []string
		if err := rows.Scan(&id, &execs); err != nil {
			return nil, fmt.Errorf("read events of alerts: %w", err)
		}
		tied[id] = execs
	}
	if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("read events of alerts: %w", err)
	}
	rows, err = s.conn.Query(s.limited(ctx), fmt.Sprintf("SELECT toString(id), toUnixTimestamp64Nano(time), rule_id, rule, toString(priority), node, output, mitre, lineage.exec_id, lineage.pid "+
		"FROM alerts WHERE time >= fromUnixTimestamp64Nano($1) ORDER BY time DESC LIMIT %d", maxIncidentAlerts), since.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []IncidentAlert
	for rows.Next() {
		var a IncidentAlert
		var id, priority string
		var at int64
		var execs []string
		var pids []uint32
		if err := rows.Scan(&id, &at, &a.RuleID, &a.Rule, &priority, &a.Node, &a.Output, &a.mitre, &execs, &pids); err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		if a.ID, err = alertv1.ParseID(id); err != nil {
			return nil, err
		}
		if a.Priority, err = alertv1.ParsePriority(priority); err != nil {
			return nil, err
		}
		a.Time, a.links = time.Unix(0, at).UTC(), links(execs, pids)
		for _, x := range tied[id] {
			a.links = append(a.links, process(x))
		}
		out = append(out, a)
	}
	slices.Reverse(out)
	return out, rows.Err()
}

// links names the processes by which an alert is tied to others: the one that acted and its ancestors, but for pid 1, the
// kernel and the daemons that they started, which have too much to do with each other.
func links(execs []string, pids []uint32) []string {
	var out []string
	for i := range execs {
		last := i+1 >= len(pids)
		if i > 0 && (pids[i] <= 2 || last || pids[i+1] <= 2) {
			break
		}
		out = append(out, process(execs[i]))
	}
	return out
}

// process is a name of the process whatever programs it runs: its exec id without the number of execs.
func process(execID string) string {
	if i := strings.LastIndexByte(execID, ':'); i >= 0 {
		return execID[:i]
	}
	return execID
}

// group finds what belongs together. The alerts are in the order of time.
func group(alerts []IncidentAlert) []Incident {
	parent := make([]int, len(alerts))
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	last := map[string]int{}
	for i := range alerts {
		parent[i] = i
		for _, l := range alerts[i].links {
			if j, ok := last[l]; ok && alerts[i].Time.Sub(alerts[j].Time) <= incidentGap {
				a, b := root(i), root(j)
				parent[max(a, b)] = min(a, b) // the first alert names the incident
			}
			last[l] = i
		}
	}
	of := map[int][]IncidentAlert{}
	for i := range alerts {
		r := root(i)
		of[r] = append(of[r], alerts[i])
	}
	var out []Incident
	for _, r := range slices.Sorted(maps.Keys(of)) {
		out = append(out, newIncident(of[r]))
	}
	slices.SortStableFunc(out, func(a, b Incident) int { return cmp.Or(cmp.Compare(b.Score, a.Score), b.Start.Compare(a.Start)) })
	return out
}

// weights of the priorities, the most severe first.
var weights = [...]float64{100, 80, 50, 30, 15, 5, 2, 1}

func newIncident(alerts []IncidentAlert) Incident {
	x := Incident{
		ID: alertv1.KeyID("gyre.incident", alerts[0].ID.String(), ""), Start: alerts[0].Time, End: alerts[len(alerts)-1].Time, Priority: alertv1.Debug, Alerts: alerts,
	}
	score := 0.0
	add := func(list *[]string, v string) bool {
		if slices.Contains(*list, v) {
			return false
		}
		*list = append(*list, v)
		return true
	}
	for _, a := range alerts {
		x.Priority = min(x.Priority, a.Priority)
		add(&x.Nodes, a.Node)
		for _, m := range a.mitre {
			add(&x.MITRE, m)
		}
		if add(&x.Rules, a.RuleID) {
			score += weights[a.Priority]
		}
	}
	score *= 1 + 0.1*float64(min(len(x.MITRE), 10)) // many techniques are a story
	score *= 1 + 0.5*float64(min(len(x.Nodes)-1, 4))
	x.Score = int(score)
	return x
}
