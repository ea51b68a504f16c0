package clickhouse

import (
	"context"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Event is a row of the table of events: the event (Node, BootID, Seq).
type Event struct {
	Time                     time.Time
	Node, BootID             string
	Seq                      uint64
	Type, Source             string
	PID, TID                 uint32
	Process, Exe, Cmdline    string
	ExecID                   string
	PPID                     uint32
	Parent, ParentExecID     string
	UID                      uint32 // 4294967295 if it is not known
	User                     string
	ContainerID              string // "" for a process of the host
	ContainerName, Image     string
	K8sNamespace, K8sPod     string
	Path                     string
	Proto, LocalIP, RemoteIP string
	LocalPort, RemotePort    uint16
	Result                   int64
	Errno                    string            // such as ENOENT, "" for success
	Fields                   map[string]string // other fields of rules, by name
}

const storedColumns = "time, node, boot_id, seq, event_type, source, pid, tid, process, exe, cmdline, exec_id, ppid, parent, parent_exec_id, uid, user, " +
	"container_id, container_name, image, k8s_ns, k8s_pod, path, proto, local_ip, local_port, remote_ip, remote_port, result, errno, fields"

// StoreEvents stores events in one insert. It may be repeated, in this or another grouping: events that are stored already change
// nothing that readers of the view events see.
func (s *Store) StoreEvents(ctx context.Context, events []Event) error {
	return s.insert(ctx, "events", "events_raw ("+storedColumns+")", len(events), anyDays(), func(b driver.Batch, i int) error {
		e := &events[i]
		fields := e.Fields
		if fields == nil {
			fields = map[string]string{}
		}
		err := b.Append(e.Time, e.Node, e.BootID, e.Seq, e.Type, e.Source, e.PID, e.TID, e.Process, e.Exe, e.Cmdline, e.ExecID, e.PPID, e.Parent, e.ParentExecID, e.UID, e.User,
			e.ContainerID, e.ContainerName, e.Image, e.K8sNamespace, e.K8sPod, e.Path, e.Proto, e.LocalIP, e.LocalPort, e.RemoteIP, e.RemotePort, e.Result, e.Errno, fields)
		if err != nil {
			return fmt.Errorf("insert event %d of boot %s of %s: %w", e.Seq, e.BootID, e.Node, err)
		}
		return nil
	})
}

// anyDays are the settings of inserts of events, which may be of many days: each is a partition.
func anyDays() ch.Settings { return ch.Settings{"max_partitions_per_insert_block": 0} }
