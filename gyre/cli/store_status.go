package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/gyre/instance"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// storeStatus is what storing alerts is like.
type storeStatus struct {
	State string `json:"state"`
	// For is how many seconds the trouble lasts; Code and Name are those of ClickHouse's error.
	For    float64 `json:"trouble_seconds,omitempty"`
	Code   int     `json:"code,omitempty"`
	Name   string  `json:"name,omitempty"`
	Error  string  `json:"error,omitempty"`
	Remedy string  `json:"remedy,omitempty"`
}

// storeOf reads the instance's metrics; nil if it stores nothing.
func storeOf(families map[string]*dto.MetricFamily) *storeStatus {
	var s *storeStatus
	for _, m := range families["gyre_sink_store_state"].GetMetric() {
		if value(m) == 1 {
			s = &storeStatus{State: label(m, "state")}
		}
	}
	for _, m := range families["gyre_sink_store_trouble"].GetMetric() {
		if s == nil || label(m, "state") != s.State {
			continue
		}
		s.For, s.Name, s.Remedy = value(m), label(m, "name"), label(m, "remedy")
		s.Code, _ = strconv.Atoi(label(m, "code")) // 0 for what is no number
	}
	return s
}

// explain adds the error's text, which /readyz has.
func (s *storeStatus) explain(ctx context.Context, info instance.Info) {
	if s == nil || s.State == string(clickhouse.StateOK) {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+info.Admin+"/readyz", nil)
	if err != nil {
		return
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return // the state alone is shown
	}
	defer func() { _ = resp.Body.Close() }()
	var ready struct {
		Parts []daemon.PartStatus `json:"parts"`
	}
	if json.NewDecoder(resp.Body).Decode(&ready) != nil {
		return
	}
	for _, p := range ready.Parts {
		if p.Name == "store" {
			s.Error = p.Error
		}
	}
}

func (s *storeStatus) write(b *strings.Builder) {
	if s == nil {
		return
	}
	if s.State == string(clickhouse.StateOK) || s.State == string(clickhouse.StateStarting) {
		fmt.Fprintf(b, "store      %s\n", s.State)
		return
	}
	fmt.Fprintf(b, "store      ALERTS ARE NOT STORED: %s for %s", s.State, time.Duration(s.For*float64(time.Second)).Round(time.Second))
	if s.Code != 0 {
		fmt.Fprintf(b, ", ClickHouse error %d %s", s.Code, s.Name)
	}
	fmt.Fprintf(b, "; they wait in the stream\n")
	if s.Error != "" {
		fmt.Fprintf(b, "           %s\n", clickhouse.Printable(s.Error))
	}
	if s.Remedy != "" {
		fmt.Fprintf(b, "           remedy: %s\n", clickhouse.Printable(s.Remedy))
	}
}
