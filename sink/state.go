package sink

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// StoreState is what storing alerts is like at the moment.
type StoreState struct {
	State clickhouse.State `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Code and Name are those of ClickHouse's error, 0 and "" without one.
	Code int32  `json:"code,omitempty"`
	Name string `json:"name,omitempty"`
	// Error is the last error as it was said, Remedy what an operator can do.
	Error  string `json:"error,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// condition keeps the [StoreState], counts and logs its changes, and shows it as metrics.
type condition struct {
	log      *slog.Logger
	gauge    *prometheus.GaugeVec
	troubles *prometheus.CounterVec

	mu     sync.Mutex
	now    StoreState
	err    error
	probed bool // the last attempt was a probe, not an insert
}

func newCondition(log *slog.Logger, reg prometheus.Registerer) (*condition, error) {
	c := &condition{
		log: log, now: StoreState{State: clickhouse.StateStarting, Since: time.Now()},
		gauge:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_sink_store_state", Help: "1 for the state that storing alerts is in, 0 for the others."}, []string{"state"}),
		troubles: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_sink_store_errors_total", Help: "Errors of ClickHouse by what they mean; code is ClickHouse's, 0 without one."}, []string{"state", "code"}),
	}
	if err := errors.Join(reg.Register(c.gauge), reg.Register(c.troubles), reg.Register(c)); err != nil {
		return nil, fmt.Errorf("register sink metrics: %w", err)
	}
	for _, s := range clickhouse.States() {
		c.gauge.WithLabelValues(string(s)).Set(0)
	}
	c.gauge.WithLabelValues(string(c.now.State)).Set(1)
	return c, nil
}

// set notes what an attempt to store ended with, nil for well. A change of the state is logged once.
func (c *condition) set(err error) clickhouse.Trouble { return c.note(err, false) }

// probe notes what asking the server ended with, unless storing is in a trouble of its own.
func (c *condition) probe(err error) {
	c.mu.Lock()
	busy := c.now.State != clickhouse.StateOK && !c.probed
	c.mu.Unlock()
	if !busy {
		c.note(err, true)
	}
}

func (c *condition) note(err error, probed bool) clickhouse.Trouble {
	t := clickhouse.Diagnose(err)
	remedy := daemon.Remedy(err)
	if remedy == "" {
		remedy = t.Remedy
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.now
	if err != nil {
		c.troubles.WithLabelValues(string(t.State), strconv.Itoa(int(t.Code))).Inc()
	}
	c.err, c.probed = err, probed
	c.now.Code, c.now.Name, c.now.Error, c.now.Remedy = t.Code, t.Name, "", ""
	if err != nil {
		c.now.Error, c.now.Remedy = clickhouse.Printable(err.Error()), remedy
	}
	if t.State == was.State {
		return t
	}
	c.now.State, c.now.Since = t.State, time.Now()
	c.gauge.WithLabelValues(string(was.State)).Set(0)
	c.gauge.WithLabelValues(string(t.State)).Set(1)
	switch {
	case err != nil:
		c.log.Warn("clickhouse does not take alerts", "state", string(t.State), "err", err, "remedy", remedy)
	case was.State != clickhouse.StateStarting:
		c.log.Info("clickhouse takes alerts again", "after", time.Since(was.Since).Round(time.Second))
	}
	return t
}

func (c *condition) get() StoreState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// ready is nil if alerts are stored, and else the error with its remedy.
func (c *condition) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return daemon.Hint(fmt.Errorf("%s since %s: %w", c.now.State, c.now.Since.UTC().Format(time.RFC3339), c.err), c.now.Remedy)
	case c.now.State == clickhouse.StateStarting:
		return errors.New("ClickHouse was not reached yet")
	}
	return nil
}

func storeTroubleDesc() *prometheus.Desc {
	return prometheus.NewDesc("gyre_sink_store_trouble", "Seconds since storing alerts got into trouble; absent while there is none. The remedy is a text for people.", []string{"state", "code", "name", "remedy"}, nil)
}

// Describe sends the description.
func (c *condition) Describe(out chan<- *prometheus.Desc) { out <- storeTroubleDesc() }

// Collect sends the trouble if there is one.
func (c *condition) Collect(out chan<- prometheus.Metric) {
	s := c.get()
	if s.Error == "" {
		return
	}
	out <- prometheus.MustNewConstMetric(storeTroubleDesc(), prometheus.GaugeValue, time.Since(s.Since).Seconds(), string(s.State), strconv.Itoa(int(s.Code)), s.Name, s.Remedy)
}
