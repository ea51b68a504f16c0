package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Table is one of the views and tables that questions are asked of; others are the program's own.
type Table struct {
	Name, Meaning string
}

// Tables lists them, the most useful first.
func Tables() []Table {
	return []Table{
		{"alerts", "one row for each alert, however often it was delivered"},
		{"alerts_per_minute", "alerts by minute, rule, priority, node and namespace; cheap over long times"},
		{"alerts_per_hour", "alerts by hour, rule, priority, node and namespace; kept longest"},
		{"nodes", "one row for each node that alerts came from"},
		{"rules", "one row for each rule that fired"},
		{"alert_events", "the events behind the alerts of correlation rules, in the order of time"},
		{"events", "the events that evaluator.store_events picks; empty without it"},
		{"changes", "what changed in the Kubernetes clusters"},
		{"replay_alerts", "what replays said, apart from what happened; read it with FINAL"},
	}
}

// Column is a column of a [Table], as the server has it, with its meaning.
type Column struct {
	Table, Name, Type, Meaning string
}

// meanings are those of columns by name, and by table.name where the name has another one there.
func meanings() map[string]string {
	return map[string]string{
		"id":             "the alert's id, made of rule and event: the same whenever the same event is evaluated",
		"time":           "when the event happened on its node, UTC, in nanoseconds",
		"rule_id":        "the rule's stable id",
		"rule":           "the rule's name",
		"priority":       "emergency, alert, critical, error, warning, notice, informational or debug; ordered, the worst is the least",
		"source":         "syscall for events of a kernel, internal for what the pipeline says of itself, or the name of another source",
		"node":           "the node's name",
		"output":         "the rule's output, filled in",
		"tags":           "the rule's tags",
		"mitre":          "ids of MITRE ATT&CK techniques and tactics",
		"ruleset":        "digest of the rule set that was in force",
		"pid":            "process id on the node",
		"process":        "the process's name, as in /proc/PID/comm",
		"exe":            "path of the program",
		"cmdline":        "arguments, separated by blanks",
		"cwd":            "working directory",
		"exec_id":        "identity of the program's run: node, boot, process and its start; no pid that is used again has the same",
		"uid":            "user id of the process",
		"user":           "name of that user, in the container if there is one",
		"login_uid":      "user id that logged in (loginuid), 4294967295 if none did",
		"login_user":     "name of the user that logged in",
		"container_id":   "container id, empty on the host",
		"container_name": "the container's name",
		"image":          "image with its tag",
		"k8s_ns":         "Kubernetes namespace",
		"k8s_pod":        "name of the pod",
		"event_type":     "kind of the event, such as openat",
		"event_seq":      "number of the event on its node in that boot",
		"boot_id":        "id of the node's boot",
		"fields":         "what the rule names or attaches, by field name: fields['fd.name']",
		"lineage":        "the process, its parent and so on up: exec_id, pid, name, exe, cmdline, uid, user, start",
		"inserted_at":    "when the row was written, UTC",

		"minute": "start of the minute, UTC",
		"hour":   "start of the hour, UTC",
		"alerts": "number of alerts, each counted once",

		"first_seen": "time of the first alert that is kept",
		"last_seen":  "time of the last alert",
		"nodes":      "number of nodes",
		"rules":      "number of rules that fired",
		"worst":      "worst priority",
		"boots":      "number of boots",
		"programs":   "number of programs, by path",

		"alert_id":   "id of the alert that the event belongs to",
		"alert_time": "time of that alert",
		"idx":        "place of the event in the alert, from 0",
		"step":       "name of the rule's condition that the event satisfies",
		"detail":     "the fields that the rule reads of the event, as name=value",

		"tid":            "thread id on the node",
		"seq":            "number of the event on its node in that boot",
		"ppid":           "process id of the parent",
		"parent":         "name of the parent",
		"parent_exec_id": "identity of the parent's run",
		"path":           "file that the event is about, as fd.name",
		"proto":          "tcp, udp and so on",
		"local_ip":       "local address of the connection",
		"local_port":     "local port",
		"remote_ip":      "remote address of the connection",
		"remote_port":    "remote port",
		"result":         "what the system call returned",
		"errno":          "name of its error, such as ENOENT; empty if it succeeded",
		"events.fields":  "other arguments of the event, by field name: fields['evt.arg.flags']",
		"events.time":    "when the event happened on its node, UTC, in nanoseconds",

		"changes.id":          "the change's id",
		"changes.time":        "when the change was made, or seen, UTC",
		"changes.kind":        "rollout, image, scale, spec, created, deleted, config or rbac",
		"changes.name":        "name of the object",
		"changes.uid":         "Kubernetes uid of the object",
		"changes.object_kind": "Deployment, Role, ConfigMap and so on",
		"changes.touches":     "the workloads that the change touches, as kind/name",
		"cluster":             "name of the cluster, as configured",
		"namespace":           "Kubernetes namespace",
		"what":                "the change in one line",
		"old":                 "image or number before, where there is one",
		"new":                 "image or number after",
		"actor":               "who changed it, as far as the object tells",

		"replay_id": "id of the replay, as gyre replay prints it",
		"verdict":   "same, new or vanished: of the alert in the second of two rule sets compared with the first",
	}
}

// Describe lists the columns of the public tables, or of one of them.
func (s *Store) Describe(ctx context.Context, table string) ([]Column, error) {
	tables := Tables()
	if table != "" {
		i := slices.IndexFunc(tables, func(t Table) bool { return t.Name == table })
		if i < 0 {
			var names []string
			for _, t := range tables {
				names = append(names, t.Name)
			}
			return nil, fmt.Errorf("%w: there is no table %q to describe; there are %s", ErrQuery, table, strings.Join(names, ", "))
		}
		tables = tables[i : i+1]
	}
	means := meanings()
	var out []Column
	for _, t := range tables {
		rows, err := s.conn.Query(s.limited(ctx), "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = $1 ORDER BY position", t.Name)
		if err != nil {
			return nil, queryError(err)
		}
		for rows.Next() {
			c := Column{Table: t.Name}
			if err := rows.Scan(&c.Name, &c.Type); err != nil {
				_ = rows.Close()
				return nil, queryError(err)
			}
			if strings.HasPrefix(c.Type, "Enum8(") {
				c.Type = "Enum8" // the meaning lists the names
			}
			var ok bool
			if c.Meaning, ok = means[t.Name+"."+c.Name]; !ok {
				c.Meaning = means[c.Name]
			}
			out = append(out, c)
		}
		if err := rows.Err(); err != nil {
			return nil, queryError(err)
		}
		if err := rows.Close(); err != nil {
			return nil, queryError(err)
		}
	}
	return out, nil
}
