package container

import (
	"context"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// sweepEvery is how often the containers that are there are listed.
const sweepEvery = 10 * time.Second

// maxRetries bounds how often a container is looked up again because a source did not answer, at a sweep each.
const maxRetries = 10

// again tells whether more may be known of a container than was found.
func (w *Watcher) again(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.known[id]
	if st == nil || !st.have || !st.told.Unknown && !st.partial || st.retries >= maxRetries {
		return false
	}
	st.retries++
	return true
}

// sweep finds containers that nobody told of, and those that have ended.
func (w *Watcher) sweep(ctx context.Context, now time.Time) {
	there := map[string]bool{}
	whole := true
	for _, s := range w.sources {
		err := w.guard(s, func() error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			ids, err := s.list(ctx)
			for _, id := range ids {
				there[id] = true
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			whole = false // what it knows may be there
			w.log.Debug("containers were not listed", "source", s.name(), "err", err)
		}
	}
	for id := range there {
		w.want(ctx, Ask{ID: id}, w.again(id))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, st := range w.known {
		switch {
		case there[id] || alive(st.ask):
			st.gone = time.Time{}
		case !whole || st.busy:
		case st.gone.IsZero():
			st.gone = now
		case now.Sub(st.gone) >= w.cfg.Keep:
			delete(w.known, id)
			w.tell(Fact{Container: factv1.Container{ID: id}, Gone: true})
		}
	}
}
