// Package container finds out what a node knows of its containers: from containerd and CRI-O through the
// container runtime interface, from Docker and podman through their HTTP interfaces, and from the files
// that runtimes keep on disk. None of them needs to be there.
//
// A [Watcher] is told the ids that events name, and hears of new containers from the runtimes and from the
// directories in which they put them: often before the first process of the container runs, so that a container
// that lives for milliseconds is known too. What it finds goes to a function as a [Fact].
//
// What containers say of themselves (labels, accounts, mounts) is not trusted: every read is bounded.
package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// Ask names a container that an event was about.
type Ask struct {
	ID string `json:"id"`
	// Runtime and PodUID are what the control group says; PID is a process in the container.
	Runtime string `json:"runtime,omitempty"`
	PodUID  string `json:"pod_uid,omitempty"`
	PID     uint32 `json:"pid,omitempty"`
}

// Fact is news about a container: what is known of it now, or that its facts are to be forgotten.
type Fact struct {
	Container factv1.Container `json:"container"`
	Gone      bool             `json:"gone,omitempty"`
}

// errNotFound is what a source returns for a container that it does not know.
var errNotFound = errors.New("container not found")

// source is a place that knows containers.
type source interface {
	name() string
	// list returns the ids of all containers that are there.
	list(ctx context.Context) ([]string, error)
	// lookup returns what the source knows, or errNotFound.
	lookup(ctx context.Context, id string) (factv1.Container, error)
	// watch reports ids of containers that come or change, until ctx or the connection ends.
	watch(ctx context.Context, news func(id string)) error
}

// Watcher finds out about containers. Make one with [New].
type Watcher struct {
	cfg     Config
	log     *slog.Logger
	sources []source
	bundles *bundles
	tell    func(Fact)
	room    chan struct{} // bounds lookups at once

	mu    sync.Mutex
	known map[string]*state
	slow  map[string]time.Time // sources that did not answer in time, until when they are passed over
	wg    sync.WaitGroup
}

// state of one container.
type state struct {
	ask     Ask
	told    factv1.Container
	have    bool
	busy    bool // a lookup runs
	again   bool // news came while it ran
	gone    time.Time
	noticed time.Time
	// retries is how often it was looked up again because a source did not answer; partial tells that one did not.
	retries int
	partial bool
}

// New returns a Watcher that calls tell, from many goroutines, with what it finds.
func New(cfg Config, log *slog.Logger, tell func(Fact)) *Watcher {
	w := &Watcher{cfg: cfg, log: log, tell: tell, room: make(chan struct{}, 16), known: map[string]*state{}, slow: map[string]time.Time{}}
	w.bundles = &bundles{cfg.Bundles}
	w.sources = []source{newCRI(cfg.CRI), newDocker("docker", cfg.Docker), newDocker("podman", cfg.Podman), &dockerFiles{cfg.DockerFiles}, &storage{dirs: cfg.PodmanStorage}, w.bundles}
	return w
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for _, s := range w.sources {
		w.wg.Go(func() { w.follow(ctx, s) })
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		w.sweep(ctx, time.Now())
		select {
		case <-ctx.Done():
			w.wg.Wait()
			return
		case <-tick.C:
		}
	}
}

// follow keeps a source's watch going.
func (w *Watcher) follow(ctx context.Context, s source) {
	wait := time.Second
	for ctx.Err() == nil {
		begin := time.Now()
		err := w.guard(s, func() error { return s.watch(ctx, func(id string) { w.want(ctx, Ask{ID: id}, true) }) })
		if ctx.Err() != nil {
			return
		}
		w.log.Debug("watch of containers ended", "source", s.name(), "err", err)
		if time.Since(begin) > time.Minute {
			wait = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// guard turns a panic over something that a runtime said into an error.
func (w *Watcher) guard(s source, do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.log.Error("source of containers panicked", "source", s.name(), "err", fmt.Sprint(r))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return do()
}

// Notice tells of a container that an event names. It does not wait.
func (w *Watcher) Notice(ctx context.Context, a Ask) { w.want(ctx, a, false) }

// want has a container looked up unless that has been done; news has it done again.
func (w *Watcher) want(ctx context.Context, a Ask, news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.known[a.ID]
	if st == nil {
		if len(w.known) >= w.cfg.Max && !w.evict() {
			return
		}
		st = &state{ask: a, noticed: time.Now()}
		w.known[a.ID] = st
	}
	if a.PID != 0 {
		learned := st.ask.PID == 0
		st.ask = a
		news = news || learned && len(st.told.Users) == 0 // now its accounts can be read
	}
	switch {
	case st.busy:
		st.again = st.again || news
	case news || !st.have:
		st.busy = true
		w.wg.Go(func() { w.find(ctx, st, a.ID) })
	}
}

// evict forgets the container that ended first, or any; false if all are in use.
func (w *Watcher) evict() bool {
	var victim string
	var at time.Time
	for id, st := range w.known {
		if !st.busy && !st.gone.IsZero() && (victim == "" || st.gone.Before(at)) {
			victim, at = id, st.gone
		}
	}
	if victim == "" {
		return false
	}
	st := w.known[victim]
	delete(w.known, victim)
	if st.have {
		w.tell(Fact{Container: factv1.Container{ID: victim}, Gone: true})
	}
	return true
}

// accountsWait is how long a container whose first process is not there yet is not told. Enrichers hold batches for two seconds.
const accountsWait = time.Second

// find looks a container up, again and again for the time to settle if nothing knows it.
func (w *Watcher) find(ctx context.Context, st *state, id string) {
	for pause := 10 * time.Millisecond; ; {
		w.mu.Lock()
		ask, deadline := st.ask, st.noticed.Add(w.cfg.Settle)
		st.again = false
		w.mu.Unlock()
		c, found, early, whole := w.look(ctx, ask)
		w.mu.Lock()
		st.partial = !whole
		switch {
		case ctx.Err() != nil:
			st.busy = false
		case found && early && !st.have && time.Since(st.noticed) < min(w.cfg.Settle, accountsWait): // what is told first is what enrichers wait for
		case found:
			w.report(st, c)
			st.busy = st.again
		case st.again:
		case st.have || time.Now().After(deadline):
			if !st.have {
				c.Unknown = true
				w.report(st, c)
			}
			st.busy = false
		}
		busy := st.busy
		w.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// report tells what changed; the caller holds the lock.
func (w *Watcher) report(st *state, c factv1.Container) {
	if st.have && !c.Unknown { // what was known when it ran is not forgotten because it has ended
		merge(&c, &st.told)
		if c.Users == nil {
			c.Users, c.Groups = st.told.Users, st.told.Groups
		}
	}
	if st.have && reflect.DeepEqual(st.told, c) {
		return
	}
	st.told, st.have = c, true
	w.tell(Fact{Container: c})
}
