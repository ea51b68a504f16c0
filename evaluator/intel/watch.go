package intel

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/indicator"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

// Watch keeps a set of all lists in the bucket. Make one with [NewWatch].
type Watch struct {
	b      *bus.Bus
	bucket string
	log    *slog.Logger
	now    atomic.Pointer[Set]
	ready  chan struct{}
	once   sync.Once

	entries *prometheus.GaugeVec
	bytes   prometheus.Gauge
	loads   *prometheus.CounterVec
}

// NewWatch returns a Watch with an empty set.
func NewWatch(b *bus.Bus, bucket string, log *slog.Logger, reg prometheus.Registerer) *Watch {
	w := &Watch{
		b: b, bucket: bucket, log: log, ready: make(chan struct{}),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_evaluator_intel_entries", Help: "Indicators of threat intelligence in force, by list."}, []string{"list"}),
		bytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_evaluator_intel_bytes", Help: "Memory of the indicators in force."}),
		loads:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_evaluator_intel_loads_total", Help: "Times that lists of threat intelligence were read, by result."}, []string{"result"}),
	}
	reg.MustRegister(w.entries, w.bytes, w.loads)
	w.now.Store((&Builder{}).Build())
	return w
}

// Set is the set in force.
func (w *Watch) Set() *Set { return w.now.Load() }

// Ready is closed when the lists that are in the bucket have been read once.
func (w *Watch) Ready() <-chan struct{} { return w.ready }

// settle is how long changes are collected before the set is made anew.
const settle = 200 * time.Millisecond

// Run follows the bucket until ctx ends. While it cannot be read the set in force stays.
func (w *Watch) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.follow(ctx); err != nil && ctx.Err() == nil {
			w.loads.WithLabelValues("failed").Inc()
			w.log.Error("threat intelligence is not followed, the lists in force stay", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	return nil
}

func (w *Watch) follow(ctx context.Context) error {
	kv, err := w.b.KV(ctx, w.bucket)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	lists := map[string]intelv1.Manifest{}
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	current := false
	done := make(chan error, 1)
	go func() {
		done <- kv.Watch(ctx, intelv1.KeyPattern, func(e bus.Entry) {
			name := strings.TrimPrefix(e.Key, intelv1.Key(""))
			m, err := intelv1.Decode(e.Value)
			mu.Lock()
			switch {
			case e.Deleted:
				delete(lists, name)
			case err != nil || m.Name != name:
				w.loads.WithLabelValues("refused").Inc()
				w.log.Error("list of threat intelligence refused, the one before stays in force", "key", e.Key, "err", err)
			default:
				lists[name] = m
			}
			ok := current
			mu.Unlock()
			if ok {
				poke()
			}
		}, func() {
			mu.Lock()
			current = true
			mu.Unlock()
			poke()
		})
	}()
	for {
		select {
		case err := <-done:
			return err
		case <-changed:
		}
		select {
		case err := <-done:
			return err
		case <-time.After(settle):
		}
		mu.Lock()
		now := maps.Clone(lists)
		mu.Unlock()
		if err := w.load(ctx, kv, now); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			// The list may have been replaced while it was read: its next manifest comes.
			w.loads.WithLabelValues("failed").Inc()
			w.log.Error("threat intelligence was not read, the lists in force stay", "err", err)
			time.AfterFunc(5*time.Second, poke)
		}
	}
}

// load makes the set of these lists and puts it in force.
func (w *Watch) load(ctx context.Context, kv *bus.KV, lists map[string]intelv1.Manifest) error {
	var b Builder
	w0 := time.Now()
	counts := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		m := lists[name]
		err := b.Add(name, func(add func([]byte)) error {
			return indicator.Each(ctx, kv, m, func(x []byte) { counts[name]++; add(x) })
		})
		if err != nil {
			return err
		}
		if counts[name] != m.Entries {
			return fmt.Errorf("%w: list %s has %d indicators, its manifest says %d", intelv1.ErrMalformed, name, counts[name], m.Entries)
		}
	}
	s := b.Build()
	w.now.Store(s)
	w.entries.Reset()
	for name, n := range counts {
		w.entries.WithLabelValues(name).Set(float64(n))
	}
	w.bytes.Set(float64(s.Bytes()))
	w.loads.WithLabelValues("ok").Inc()
	w.log.Info("threat intelligence loaded", "count", s.Len(), "duration", time.Since(w0).Round(time.Millisecond))
	w.once.Do(func() { close(w.ready) })
	return nil
}
