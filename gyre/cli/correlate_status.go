package cli

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	dto "github.com/prometheus/client_model/go"
)

// correlateStatus is what the instance's correlator does.
type correlateStatus struct {
	Partitions int    `json:"partitions"`
	Members    int    `json:"members"`
	Keys       uint64 `json:"keys"`
	Bytes      uint64 `json:"state_bytes"`
	Signals    uint64 `json:"signals"`
	Alerts     uint64 `json:"alerts"`
	// Evicted, Late and Dropped count what the bounds and the order of events have cost.
	Evicted uint64 `json:"evicted,omitempty"`
	Late    uint64 `json:"late,omitempty"`
	Dropped uint64 `json:"dropped,omitempty"`
}

func correlationOf(families map[string]*dto.MetricFamily) *correlateStatus {
	if families["gyre_correlate_partitions"] == nil {
		return nil
	}
	s := &correlateStatus{
		Partitions: int(sum(families["gyre_correlate_partitions"])), Members: int(sum(families["gyre_correlate_members"])), Keys: sum(families["gyre_correlate_keys"]),
		Bytes: sum(families["gyre_correlate_state_bytes"]), Signals: sum(families["gyre_correlate_signals_total"]), Alerts: sum(families["gyre_correlate_alerts_total"]),
		Evicted: sum(families["gyre_correlate_keys_evicted_total"]),
	}
	for _, m := range families["gyre_correlate_late_total"].GetMetric() {
		switch label(m, "result") {
		case "taken":
			s.Late = uint64(value(m))
		case "dropped":
			s.Dropped = uint64(value(m))
		}
	}
	return s
}

func (s *correlateStatus) write(b *strings.Builder) {
	if s == nil {
		return
	}
	fmt.Fprintf(b, "correlate  %d signals, %d alerts, %d keys in %s, %d of 64 partitions", s.Signals, s.Alerts, s.Keys, humanize.IBytes(s.Bytes), s.Partitions)
	if s.Members > 1 {
		fmt.Fprintf(b, ", %d correlators", s.Members)
	}
	b.WriteByte('\n')
	if s.Evicted+s.Late+s.Dropped > 0 {
		fmt.Fprintf(b, "           %d KEYS FORGOTTEN BEFORE THEIR TIME, %d signals late, %d too late\n", s.Evicted, s.Late, s.Dropped)
	}
}
