// Package intel reads lists of indicators of compromise from files and servers and keeps
// them in the bucket intel, from which every evaluator has them.
//
// Of several enrichers one reads a list at a time: who reads it notes that in the
// bucket, and the others pass. A list that cannot be read stays as it is, which is
// logged and counted.
package intel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/indicator"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

// Feeder keeps the lists of a configuration up to date. Make one with [New].
type Feeder struct {
	cfg    Config
	b      *bus.Bus
	log    *slog.Logger
	m      *metrics
	client *http.Client
}

type metrics struct {
	reads   *prometheus.CounterVec
	entries *prometheus.GaugeVec
	skipped *prometheus.GaugeVec
	last    *prometheus.GaugeVec
}

// New returns a Feeder.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Feeder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &metrics{
		reads:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_intel_reads_total", Help: "Times that a list of indicators was read, by result: new, unchanged, retried, failed."}, []string{"list", "result"}),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_intel_entries", Help: "Indicators of a list when this program read it last."}, []string{"list"}),
		skipped: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_intel_skipped_lines", Help: "Lines of a list that were no indicators when this program read it last."}, []string{"list"}),
		last:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_intel_read_timestamp_seconds", Help: "When this program read a list last."}, []string{"list"}),
	}
	reg.MustRegister(m.reads, m.entries, m.skipped, m.last)
	return &Feeder{cfg: cfg, b: b, log: log, m: m, client: &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return errors.New("the server redirects too often, or away from https")
		}
		return nil
	}}}, nil
}

// Run reads the lists until ctx ends.
func (f *Feeder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range f.cfg.Lists {
		wg.Go(func() { f.keep(ctx, l) })
	}
	wg.Wait()
	return nil
}

// keep reads one list again and again.
func (f *Feeder) keep(ctx context.Context, l List) {
	for failing := false; ; {
		wait, err := f.turn(ctx, l)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.m.reads.WithLabelValues(l.Name, "failed").Inc()
			if !failing {
				f.log.Error("list of indicators was not read, the one before stays in force", "err", err)
			}
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// state is what enrichers tell each other about a list.
type state struct {
	// ETag is that of the content in force, Checked when it was compared with the source last.
	ETag    string    `json:"etag"`
	Checked time.Time `json:"checked"`
	// Until is how long nobody else needs to look.
	Until time.Time `json:"until"`
	// Source tells when the settings of the list have changed.
	Source string `json:"source"`
}

func (l List) source() string {
	if l.File != "" {
		return fmt.Sprintf("file %s type %s column %d", l.File, l.Type, l.Column)
	}
	from := l.URL
	if from == "" {
		from = "secret url"
	} else if u, err := url.Parse(from); err == nil {
		from = u.Redacted()
	}
	return fmt.Sprintf("%s type %s column %d", from, l.Type, l.Column)
}

// turn reads a list if it is time and nobody else does. It returns how long to wait for the next turn.
func (f *Feeder) turn(ctx context.Context, l List) (time.Duration, error) {
	kv, err := f.b.KV(ctx, bus.BucketIntel)
	if err != nil {
		return l.every(), err
	}
	key := "feed." + l.Name
	var was state
	e, err := kv.Get(ctx, key)
	switch {
	case errors.Is(err, bus.ErrNotFound):
	case err != nil:
		return l.every(), err
	case json.Unmarshal(e.Value, &was) != nil:
		was = state{}
	}
	now := time.Now()
	if was.Source == l.source() && now.Before(was.Until) {
		return min(was.Until.Sub(now), l.every()), nil
	}
	if was.Source != l.source() {
		was.ETag = ""
	}
	if _, err := indicator.Get(ctx, kv, l.Name); err != nil {
		was.ETag = "" // the list is gone: it is needed whole
	}
	next := state{ETag: was.ETag, Checked: was.Checked, Until: now.Add(f.cfg.Retry + f.cfg.Timeout), Source: l.source()}
	rev, err := f.note(ctx, kv, key, next, e.Revision)
	if errors.Is(err, bus.ErrConflict) {
		return time.Second, nil // somebody else reads it
	}
	if err != nil {
		return l.every(), err
	}
	got, err := f.fetch(ctx, l, was.ETag)
	next.Until = time.Now().Add(l.every())
	if err == nil {
		err = f.put(ctx, kv, l, got)
	}
	if err == nil {
		next.ETag, next.Checked = got.etag, time.Now()
		f.m.last.WithLabelValues(l.Name).SetToCurrentTime()
	}
	if _, nerr := f.note(context.WithoutCancel(ctx), kv, key, next, rev); nerr != nil && !errors.Is(nerr, bus.ErrConflict) {
		err = errors.Join(err, nerr)
	}
	return l.every(), err
}

func (f *Feeder) note(ctx context.Context, kv *bus.KV, key string, s state, rev uint64) (uint64, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	return kv.Update(ctx, key, data, rev)
}

// put stores what was fetched.
func (f *Feeder) put(ctx context.Context, kv *bus.KV, l List, got fetched) error {
	if got.unchanged {
		f.m.reads.WithLabelValues(l.Name, "unchanged").Inc()
		return nil
	}
	m, chunks, err := intelv1.Pack(l.Name, l.source(), got.parsed.Entries, time.Now())
	if err != nil {
		return err
	}
	m.Skipped = got.parsed.Skipped
	fresh, err := indicator.Put(ctx, kv, m, chunks)
	if err != nil {
		return err
	}
	f.m.entries.WithLabelValues(l.Name).Set(float64(m.Entries))
	f.m.skipped.WithLabelValues(l.Name).Set(float64(m.Skipped))
	if !fresh {
		f.m.reads.WithLabelValues(l.Name, "unchanged").Inc()
		return nil
	}
	f.m.reads.WithLabelValues(l.Name, "new").Inc()
	f.log.Info("list of indicators stored", "component", l.Name, "count", m.Entries)
	if got.parsed.FirstBad != nil {
		f.log.Warn("lines of a list are no indicators, they are skipped", "count", m.Skipped, "err", got.parsed.FirstBad)
	}
	return nil
}
