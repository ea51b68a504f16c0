// Package label adds what the operator of a fleet knows: labels of all nodes, labels
// looked up in tables by a field of the node, container, pod, user or process, labels of
// networks, and the country and autonomous system of addresses.
//
// Tables are CSV files or values of the bucket context, and are read again when they
// change. A table that cannot be read leaves the one before in force, is logged with
// file and line, and counted; a batch always passes.
package label

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Stage is safe for concurrent use. Make it with [New].
type Stage struct {
	cfg     Config
	b       *bus.Bus
	log     *slog.Logger
	m       *metrics
	static  []pair
	lookups []*lookup
	nets    *source[*networks]
	country *source[*geo]
	asn     *source[*geo]
	files   []loader
	views   sync.Pool
}

type lookup struct {
	key   key
	table *source[table]
}

// New returns the stage; a file that cannot be read is an error.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Stage, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Stage{cfg: cfg, b: b, log: log, m: newMetrics(reg)}
	s.views.New = func() any { return field.NewView() }
	for k, v := range cfg.Static {
		s.static = append(s.static, pair{k, v})
	}
	slices.SortFunc(s.static, func(a, b pair) int { return compare(a.name, b.name) })
	for _, l := range cfg.Lookups {
		k, err := newKey(l.Field)
		if err != nil {
			return nil, err
		}
		src := &source[table]{name: "lookup " + l.Name, file: l.File, parse: func(file string, data []byte) (table, error) {
			t, err := readTable(file, data, cfg.MaxRows)
			if err == nil {
				s.m.rows.WithLabelValues("lookup " + l.Name).Set(float64(len(t)))
			}
			return t, err
		}}
		s.lookups = append(s.lookups, &lookup{k, src})
		s.files = append(s.files, src)
	}
	s.nets = &source[*networks]{name: "networks", file: cfg.Networks, parse: func(file string, data []byte) (*networks, error) {
		n, err := readNetworks(file, data, cfg.MaxRows)
		if err == nil {
			s.m.rows.WithLabelValues("networks").Set(float64(len(n.byNet)))
		}
		return n, err
	}}
	s.country = &source[*geo]{name: "country database", file: cfg.Country, parse: readGeo}
	s.asn = &source[*geo]{name: "asn database", file: cfg.ASN, parse: readGeo}
	s.files = append(s.files, s.nets, s.country, s.asn)
	for _, f := range s.files {
		if _, err := f.load(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Name is "label".
func (*Stage) Name() string { return "label" }

// Run reads files again when they change, and the bucket, until ctx ends.
func (s *Stage) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make(chan error, 1)
	if slices.ContainsFunc(s.cfg.Lookups, func(l Lookup) bool { return l.File == "" }) {
		wg.Go(func() {
			if err := s.watch(ctx); err != nil {
				errs <- err
			}
		})
	}
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-errs:
			return err
		case <-tick.C:
			s.reload()
		}
	}
}

func (s *Stage) reload() {
	for _, f := range s.files {
		changed, err := f.load()
		if changed {
			s.loaded(f.title(), err)
		}
	}
}

func (s *Stage) loaded(name string, err error) {
	if err != nil {
		s.m.loads.WithLabelValues(name, "refused").Inc()
		s.log.Error("table of labels refused, the one before stays in force", "err", err)
		return
	}
	s.m.loads.WithLabelValues(name, "ok").Inc()
	s.log.Info("table of labels loaded", "component", name)
}

// watch follows the tables in the bucket. A table that is deleted is empty.
func (s *Stage) watch(ctx context.Context) error {
	kv, err := s.b.KV(ctx, bus.BucketContext)
	if err != nil {
		return err
	}
	return kv.Watch(ctx, ">", func(e bus.Entry) {
		for i, l := range s.cfg.Lookups {
			if l.File != "" || l.Name != e.Key {
				continue
			}
			t := s.lookups[i].table
			if e.Deleted {
				t.now.Store(&table{})
				s.m.rows.WithLabelValues(t.name).Set(0)
				continue
			}
			s.loaded(t.name, t.set("kv:"+bus.BucketContext+"/"+e.Key, e.Value))
		}
	}, nil)
}

// Enrich adds the labels that rows do not have. What fails for an address is counted and leaves its columns empty.
func (s *Stage) Enrich(_ context.Context, b *eventv1.Batch) error {
	w := words{b: b}
	w.add(&b.Labels, s.static)
	if len(s.lookups) > 0 {
		v, ok := s.views.Get().(*field.View)
		if !ok {
			return errors.New("unexpected pool content")
		}
		defer s.views.Put(v)
		v.Batch(b)
		for _, l := range s.lookups {
			t, ok := l.table.get()
			if !ok || len(t) == 0 {
				continue
			}
			l.key.rows(b, v, func(labels *[]eventv1.Label) {
				if value := l.key.read(v); value != "" {
					w.add(labels, t[value])
				}
			})
		}
	}
	return s.addresses(&w)
}

func (s *Stage) addresses(w *words) error {
	nets, hasNets := s.nets.get()
	country, hasCountry := s.country.get()
	asn, hasASN := s.asn.get()
	if !hasNets && !hasCountry && !hasASN {
		return nil
	}
	var errs []error
	var found []pair
	for i := range w.b.Addresses {
		r := &w.b.Addresses[i]
		a, ok := netip.AddrFromSlice([]byte(w.b.Text(r.Addr)))
		if !ok {
			continue
		}
		a = a.Unmap()
		if hasNets {
			found = nets.find(a, found[:0])
			w.add(&r.Labels, found)
		}
		if hasCountry && r.Country == 0 {
			code, err := country.country(a)
			errs = append(errs, err)
			r.Country = w.id(code)
		}
		if hasASN && r.ASN == 0 {
			n, org, err := asn.asn(a)
			errs = append(errs, err)
			r.ASN, r.ASOrg = n, w.id(org)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("look up addresses: %w", err)
	}
	return nil
}

// words adds strings to a batch, each once.
type words struct {
	b   *eventv1.Batch
	ids map[string]eventv1.StrID
}

func (w *words) id(s string) eventv1.StrID {
	if s == "" {
		return 0
	}
	if id, ok := w.ids[s]; ok {
		return id
	}
	if w.ids == nil {
		w.ids = map[string]eventv1.StrID{}
	}
	id := w.b.AddString(s)
	w.ids[s] = id
	return id
}

// add adds labels of names that are not there yet.
func (w *words) add(to *[]eventv1.Label, labels []pair) {
	for _, l := range labels {
		if !slices.ContainsFunc(*to, func(x eventv1.Label) bool { return w.b.Text(x.Key) == l.name }) {
			*to = append(*to, eventv1.Label{Key: w.id(l.name), Value: w.id(l.value)})
		}
	}
}
