package sink

import (
	"context"
	"errors"
	"sync"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

// witness stands between the sink and an output, over restarts of the sink, and remembers what the sink was told. A service
// cannot know that: what it says after the sink's patience has ended, the sink never hears.
type witness struct {
	notify.Settings
	mu sync.Mutex
	// told is in how many attempts for an alert the service said that it has it, late how many ended before it said anything: by the
	// output's timeout, or because the sink ends.
	told, late map[alertv1.ID]int
	// again is how many alerts were sent once more after the sink was told, ended how many attempts were late.
	again, ended int
}

func newWitness(s notify.Settings) *witness {
	return &witness{Settings: s, told: map[alertv1.ID]int{}, late: map[alertv1.ID]int{}}
}

// Open wraps the notifier.
func (w *witness) Open(env notify.Env) (notify.Notifier, error) {
	n, err := w.Settings.Open(env)
	return &watched{n, w}, err
}

type watched struct {
	notify.Notifier
	w *witness
}

func (n *watched) Notify(ctx context.Context, batch []notify.Message) error {
	n.w.mu.Lock()
	for i := range batch {
		if n.w.told[batch[i].Alert.ID] > 0 {
			n.w.again++
		}
	}
	n.w.mu.Unlock()
	err := n.Notifier.Notify(ctx, batch)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if late {
		n.w.ended++
	}
	for i := range batch {
		switch id := batch[i].Alert.ID; {
		case err == nil:
			n.w.told[id]++
		case late:
			n.w.late[id]++
		}
	}
	return err
}
