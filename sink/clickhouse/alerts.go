package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const alertColumns = "id, time, rule_id, rule, priority, source, node, output, tags, mitre, ruleset, pid, process, exe, cmdline, cwd, exec_id, uid, user, login_uid, login_user, " +
	"container_id, container_name, image, k8s_ns, k8s_pod, event_type, event_seq, boot_id, fields, lineage"

// insertWait is how long the answer to an insert of alerts is waited for.
const insertWait = 90 * time.Second

// InsertAlerts stores alerts in one insert. It may be repeated, in this or another
// grouping: ids that are stored already change nothing that readers see.
func (s *Store) InsertAlerts(ctx context.Context, alerts []alertv1.Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, insertWait)
	defer cancel()
	// Rows of one id within an insert are left to the view and to merges: the server would sort and compare them before it answers, which
	// costs more than all the rest of the insert.
	settings := ch.Settings{"insert_deduplication_token": token(alerts), "optimize_on_insert": 0}
	err := s.insert(ctx, "alerts", "alerts_raw ("+alertColumns+")", len(alerts), settings, func(b driver.Batch, i int) error {
		if err := b.Append(row(&alerts[i])...); err != nil {
			return fmt.Errorf("insert alert %s: %w", alerts[i].ID, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.insertEvents(ctx, alerts)
}

// token is the same for the same alerts in the same order.
func token(alerts []alertv1.Alert) string {
	h := sha256.New()
	for i := range alerts {
		h.Write(alerts[i].ID[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func row(a *alertv1.Alert) []any {
	p := a.Process()
	fields := make(map[string]string, len(a.Fields))
	for _, f := range a.Fields {
		if f.Value != nil {
			fields[f.Name] = FieldText(f.Value)
		}
	}
	lineage := make([][]any, len(a.Lineage))
	for i, l := range a.Lineage {
		lineage[i] = []any{l.ExecID, l.PID, l.Name, l.Exe, l.Cmdline, l.UID, l.User, time.Unix(0, l.Start).UTC()}
	}
	return []any{
		uuid.UUID(a.ID), a.When(), a.RuleID, a.Rule, a.Priority.String(), a.Source, a.Node, a.Output, nonNil(a.Tags), nonNil(a.MITRE), a.Ruleset,
		p.PID, p.Name, p.Exe, p.Cmdline, p.Cwd, p.ExecID, a.User.UID, a.User.Name, a.User.LoginUID, a.User.LoginName,
		a.Container.ID, a.Container.Name, a.Container.Image, a.K8s.Namespace, a.K8s.Pod, a.Event, a.Seq, a.BootID, fields, lineage,
	}
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// FieldText is the text form of a field's value.
func FieldText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case []string:
		return "(" + strings.Join(v, ",") + ")"
	default:
		return ""
	}
}

// Filter narrows [Store.Alerts]; zero values mean any.
type Filter struct {
	Since    time.Time
	Limit    int
	Rule     string
	Node     string
	Priority []string
	ID       string
}

// Alerts reads stored alerts, the newest first. The events behind an alert are read only if one is asked for by its ID.
func (s *Store) Alerts(ctx context.Context, f Filter) ([]alertv1.Alert, error) {
	where, args := []string{"1"}, []any{}
	add := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(cond, "?", "$"+strconv.Itoa(len(args))))
	}
	if !f.Since.IsZero() {
		add("time >= fromUnixTimestamp64Nano(?)", f.Since.UnixNano())
	}
	if f.Rule != "" {
		add("(rule_id = ? OR rule = ?)", f.Rule)
	}
	if f.Node != "" {
		add("node = ?", f.Node)
	}
	if f.ID != "" {
		add("id = toUUIDOrZero(?)", f.ID)
	}
	if len(f.Priority) > 0 {
		add("has(?, toString(priority))", slices.Clone(f.Priority))
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	q := "SELECT toString(id), toUnixTimestamp64Nano(time), rule_id, rule, toString(priority), source, node, output, tags, mitre, ruleset, cwd, uid, user, login_uid, login_user, " +
		"container_id, container_name, image, k8s_ns, k8s_pod, event_type, event_seq, boot_id, fields, " +
		"lineage.exec_id, lineage.pid, lineage.name, lineage.exe, lineage.cmdline, lineage.uid, lineage.user, arrayMap(t -> toUnixTimestamp64Nano(t), lineage.start) " +
		"FROM alerts WHERE " + strings.Join(where, " AND ") + " ORDER BY time DESC LIMIT " + strconv.Itoa(limit)
	rows, err := s.conn.Query(s.limited(ctx), q, args...)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []alertv1.Alert
	for rows.Next() {
		a, err := scanAlert(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil || f.ID == "" {
		return out, err
	}
	for i := range out {
		if err := s.readEvents(ctx, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func scanAlert(scan func(...any) error) (alertv1.Alert, error) {
	var a alertv1.Alert
	var id, priority, cwd string
	var fields map[string]string
	var execIDs, names, exes, cmdlines, users []string
	var pids, uids []uint32
	var starts []int64
	if err := scan(&id, &a.Time, &a.RuleID, &a.Rule, &priority, &a.Source, &a.Node, &a.Output, &a.Tags, &a.MITRE, &a.Ruleset, &cwd,
		&a.User.UID, &a.User.Name, &a.User.LoginUID, &a.User.LoginName, &a.Container.ID, &a.Container.Name, &a.Container.Image,
		&a.K8s.Namespace, &a.K8s.Pod, &a.Event, &a.Seq, &a.BootID, &fields, &execIDs, &pids, &names, &exes, &cmdlines, &uids, &users, &starts); err != nil {
		return a, err
	}
	var err error
	if a.ID, err = alertv1.ParseID(id); err != nil {
		return a, err
	}
	if a.Priority, err = alertv1.ParsePriority(priority); err != nil {
		return a, err
	}
	for _, name := range slices.Sorted(mapKeys(fields)) {
		a.Fields = append(a.Fields, alertv1.Field{Name: name, Value: fields[name]})
	}
	for i := range execIDs {
		a.Lineage = append(a.Lineage, alertv1.Process{ExecID: execIDs[i], PID: pids[i], Name: names[i], Exe: exes[i], Cmdline: cmdlines[i], UID: uids[i], User: users[i], Start: starts[i]})
	}
	if len(a.Lineage) > 0 {
		a.Lineage[0].Cwd = cwd
	}
	return a, nil
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// limited makes a query stop on the server too.
func (s *Store) limited(ctx context.Context) context.Context {
	return ch.Context(ctx, ch.WithSettings(ch.Settings{"max_execution_time": int(s.cfg.QueryTimeout / time.Second)}))
}
