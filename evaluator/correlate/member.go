package correlate

import (
	"context"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
)

const memberPrefix = "member."

// members knows which correlators live, by their signs of life: entries of the bucket that change. Times are those at
// which this process saw a change, so clocks of different machines are never compared. It is safe for concurrent use.
type members struct {
	mu      sync.Mutex
	seen    map[string]time.Time
	changed chan struct{} // has an element when somebody came or went
}

func newMembers() *members {
	return &members{seen: map[string]time.Time{}, changed: make(chan struct{}, 1)}
}

// watch follows the bucket until ctx ends; current is called when all that is there was read.
func (m *members) watch(ctx context.Context, kv *bus.KV, current func()) error {
	return kv.Watch(ctx, memberPrefix+"*", func(e bus.Entry) {
		id := strings.TrimPrefix(e.Key, memberPrefix)
		m.mu.Lock()
		_, known := m.seen[id]
		if e.Deleted {
			delete(m.seen, id)
		} else {
			m.seen[id] = time.Now()
		}
		m.mu.Unlock()
		if known == e.Deleted {
			select {
			case m.changed <- struct{}{}:
			default:
			}
		}
	}, current)
}

// alive lists who gave a sign of life within the lease.
func (m *members) alive(now time.Time, lease time.Duration) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]bool{}
	for id, t := range m.seen {
		if now.Sub(t) < lease {
			out[id] = true
		}
	}
	return out
}

// gone lists who gave none for so long that the entry can go.
func (m *members) gone(now time.Time, lease time.Duration) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id, t := range m.seen {
		if now.Sub(t) > 10*lease {
			out = append(out, id)
		}
	}
	return out
}

// chosen is who of the living should own a partition: the one whose hash with it is the highest, so that one who comes
// or goes moves few partitions.
func chosen(alive map[string]bool, partition int) string {
	best, high := "", uint64(0)
	for id := range alive {
		h := fnv.New64a()
		h.Write([]byte(id))
		h.Write([]byte(strconv.Itoa(partition)))
		x := h.Sum64() // the last bytes change too little of it: mix
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		if best == "" || x > high || x == high && id < best {
			best, high = id, x
		}
	}
	return best
}
