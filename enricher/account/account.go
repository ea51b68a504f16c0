// Package account adds the names of users and groups, from the accounts that each
// node publishes in the facts bucket.
package account

import (
	"context"
	"log/slog"
	"sync"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Stage is safe for concurrent use.
type Stage struct {
	b        *bus.Bus
	log      *slog.Logger
	maxNodes int

	mu    sync.RWMutex
	nodes map[string]*accounts // by the node's token in keys
}

type accounts struct {
	users  map[uint32]factv1.User
	groups map[uint32]string
}

// New returns a Stage that keeps the accounts of at most maxNodes nodes.
func New(b *bus.Bus, maxNodes int, log *slog.Logger) *Stage {
	return &Stage{b: b, log: log, maxNodes: maxNodes, nodes: map[string]*accounts{}}
}

// Name is "account".
func (*Stage) Name() string { return "account" }

// Run watches the facts of all nodes.
func (s *Stage) Run(ctx context.Context) error {
	kv, err := s.b.KV(ctx, bus.BucketFacts)
	if err != nil {
		return err
	}
	return kv.Watch(ctx, "*.users", s.learn, nil)
}

func (s *Stage) learn(e bus.Entry) {
	node := e.Key[:len(e.Key)-len(".users")]
	if e.Deleted {
		s.mu.Lock()
		delete(s.nodes, node)
		s.mu.Unlock()
		return
	}
	f, err := factv1.DecodeUsers(e.Value)
	if err != nil {
		s.log.Warn("accounts of a node not understood", "key", e.Key, "err", err)
		return
	}
	a := &accounts{users: make(map[uint32]factv1.User, len(f.Users)), groups: make(map[uint32]string, len(f.Groups))}
	for _, u := range f.Users {
		if _, dup := a.users[u.UID]; !dup { // the first line of an id counts, as for getpwuid(3)
			a.users[u.UID] = u
		}
	}
	for _, g := range f.Groups {
		if _, dup := a.groups[g.GID]; !dup {
			a.groups[g.GID] = g.Name
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.nodes[node]; !known && len(s.nodes) >= s.maxNodes {
		for n := range s.nodes { // any one: it is learned again when it changes
			delete(s.nodes, n)
			break
		}
	}
	s.nodes[node] = a
}

// Enrich gives processes outside of containers their users and groups: the accounts of a
// container are its own.
func (s *Stage) Enrich(_ context.Context, b *eventv1.Batch) error {
	s.mu.RLock()
	a := s.nodes[subject.Token(b.Node)]
	s.mu.RUnlock()
	if a == nil {
		return nil
	}
	rows := map[uint32]int32{}
	for i := range b.Users { // users that events mention, without a name yet
		u := &b.Users[i]
		if have, ok := a.users[u.UID]; ok && u.Container < 0 && u.Name == 0 {
			u.Name, u.Home, u.Shell = b.AddString(have.Name), b.AddString(have.Home), b.AddString(have.Shell)
			rows[u.UID] = int32(i)
		}
	}
	row := func(uid uint32) int32 {
		if r, ok := rows[uid]; ok {
			return r
		}
		u, ok := a.users[uid]
		r := int32(-1)
		if ok {
			r = int32(len(b.Users))
			b.Users = append(b.Users, eventv1.User{UID: uid, Container: -1, Name: b.AddString(u.Name), Home: b.AddString(u.Home), Shell: b.AddString(u.Shell)})
		}
		rows[uid] = r
		return r
	}
	groups := map[uint32]eventv1.StrID{}
	for i := range b.Procs {
		p := &b.Procs[i]
		if p.Container >= 0 {
			continue
		}
		p.User = row(p.UID)
		if p.LoginUID != eventv1.NoUID {
			p.LoginUser = row(p.LoginUID)
		}
		g, ok := groups[p.GID]
		if !ok {
			g = b.AddString(a.groups[p.GID])
			groups[p.GID] = g
		}
		p.Group = g
	}
	return nil
}
