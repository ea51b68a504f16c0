package container

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

const (
	// lookTimeout bounds one look at one source. Enrichers hold batches for two seconds.
	lookTimeout = time.Second
	// slowFor is how long a source that did not answer is passed over, so that it does not delay what the others know.
	slowFor = 10 * time.Second
)

// look asks all sources at once and puts together what they say; earlier sources count more.
// early tells that its accounts cannot be read yet; whole is false if a source could not be asked.
func (w *Watcher) look(ctx context.Context, ask Ask) (c factv1.Container, found, early, whole bool) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	w.room <- struct{}{}
	defer func() { <-w.room }()
	parts := make([]*factv1.Container, len(w.sources))
	var wg sync.WaitGroup
	var failed atomic.Bool
	var acc accounts
	wg.Go(func() { acc = readAccounts(ask, w.bundles.root) }) // at once: the container may have ended when runtimes have answered
	for i, s := range w.sources {
		if w.isSlow(s) {
			failed.Store(true)
			continue
		}
		wg.Go(func() {
			err := w.guard(s, func() error {
				c, err := s.lookup(ctx, ask.ID)
				if err == nil {
					parts[i] = &c
				}
				return err
			})
			if err != nil && !errors.Is(err, errNotFound) {
				failed.Store(true)
			}
			if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				w.setSlow(s)
			}
			if err != nil && !errors.Is(err, errNotFound) && !errors.Is(ctx.Err(), context.Canceled) {
				w.log.Debug("container was not looked up", "source", s.name(), "name", ask.ID, "err", err)
			}
		})
	}
	wg.Wait()
	c = factv1.Container{ID: ask.ID, Runtime: ask.Runtime, PodUID: ask.PodUID}
	for i, p := range parts {
		if p == nil {
			continue
		}
		if !found && p.Runtime != "" {
			c.Runtime = p.Runtime
		}
		found = true
		c.Sources = append(c.Sources, w.sources[i].name())
		merge(&c, p)
	}
	if !found && !isHexID(ask.ID) { // a machine of LXC or systemd-nspawn is its name
		c.Name, found = ask.ID, true
	}
	if found {
		c.Users, c.Groups = acc.users, acc.groups
	}
	return c, found, acc.early, !failed.Load()
}

func (w *Watcher) isSlow(s source) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.slow[s.name()])
}

func (w *Watcher) setSlow(s source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow[s.name()] = time.Now().Add(slowFor)
}
