package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/policy"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// controls is what a source on a live kernel can be told while it runs.
type controls interface {
	SetKinds(kinds []uint16) error
	SetThreads(on bool) error
	SetEnv(on bool) error
	SetFolding(window time.Duration, kinds []uint16) error
	SetMutes(m bpf.Mutes) error
	MuteProcess(tgid uint32, on bool) error
}

// capture is the policy in force. It belongs to the reading goroutine.
type capture struct {
	policy.Policy
	env map[string]bool
}

// inForce is what the node tells about its policy; see factv1.Host.
type inForce struct{ policy, refused string }

func (c *Collector) tellPolicy(p inForce) {
	c.inForce.Store(&p)
	select {
	case c.policyChanged <- struct{}{}:
	default: // it will be seen
	}
}

// applyPolicy puts a policy into force. On an error what was applied stays: the next policy replaces it.
func (c *Collector) applyPolicy(p *policy.Policy, groups []uint64) error {
	c.capture = capture{Policy: *p, env: map[string]bool{}}
	for _, name := range p.Env {
		c.capture.env[name] = true
	}
	k, ok := c.src.(controls)
	if !ok {
		return nil // a recording has what it has
	}
	err := errors.Join(
		k.SetThreads(p.Threads), k.SetEnv(len(p.Env) > 0), k.SetFolding(p.FoldWindow, numbers(p.Folded())),
		k.SetMutes(bpf.Mutes{Exes: p.Mute.Exes, Groups: groups, Prefixes: p.Mute.Paths}), k.SetKinds(numbers(p.Selected())),
	)
	if err != nil {
		return fmt.Errorf("apply capture policy: %w", err)
	}
	return c.mutePresent(k)
}

// mutePresent mutes the programs that run already; new ones are muted in the kernel when they start.
func (c *Collector) mutePresent(k controls) error {
	var errs []error
	for p := range c.table.All() {
		if muted := slices.Contains(c.capture.Mute.Exes, p.Image().Exe); muted != c.muted[p.Key] && !p.Exited() {
			errs = append(errs, k.MuteProcess(p.PID, muted))
		}
	}
	clear(c.muted)
	if len(c.capture.Mute.Exes) > 0 {
		for p := range c.table.All() {
			c.muted[p.Key] = slices.Contains(c.capture.Mute.Exes, p.Image().Exe)
		}
	}
	return errors.Join(errs...)
}

// allowedEnv keeps the variables that the policy names.
func (c *Collector) allowedEnv(env []string) []string {
	if len(c.capture.env) == 0 {
		return nil
	}
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, ok := strings.Cut(v, "=")
		return !ok || !c.capture.env[name]
	})
}

// change brings the table up to a call by which a process changed itself.
func (c *Collector) change(p *proctable.Process, kind eventv1.Kind, ret int64, path []byte) {
	switch {
	case ret < 0:
	case (kind == eventv1.Chdir || kind == eventv1.Fchdir) && len(path) > 0 && p.Image().Cwd != string(path):
		c.table.Change(p, func(f *proctable.Facts) { f.Cwd = string(path) })
	case kind == eventv1.Setsid:
		c.table.Change(p, func(f *proctable.Facts) {
			r := &f.Row
			r.SID, r.PGID, r.VSID, r.VPGID, r.TTYNr = r.PID, r.PID, r.VPID, r.VPID, 0
			f.TTY = ""
		})
	}
}

// regroupEvery is how often control groups below a muted one are looked for.
const regroupEvery = 5 * time.Second

// followPolicy applies the policy that the bucket has for this node, or else for all nodes, until ctx ends. A policy that
// is not valid is refused: the one in force stays.
func (c *Collector) followPolicy(ctx context.Context) {
	node := subject.Capture(c.node)
	docs := make(chan bus.Entry, 16)
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, key := range []string{subject.CaptureFleet, node} {
		watches.Go(func() { c.watchPolicy(ctx, key, docs) })
	}
	have := map[string][]byte{}
	current, from, refused := &c.cfg.Capture, "configuration", ""
	groups := policy.Groups(current.Mute.Cgroups)
	tick := time.NewTicker(regroupEvery)
	defer tick.Stop()
	apply := func() {
		p, g := current, groups
		err := c.onReader(ctx, func() {
			if err := c.applyPolicy(p, g); err != nil {
				c.metrics.errors.WithLabelValues("apply capture policy").Inc()
				c.log.Error("capture policy is applied in part only", "err", err)
			}
		})
		if err == nil {
			c.metrics.policy(from, policy.Digest(have[from]))
			c.tellPolicy(inForce{from + " " + policy.Digest(have[from]), refused})
		}
	}
	apply()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if len(current.Mute.Cgroups) == 0 {
				continue
			}
			if now := policy.Groups(current.Mute.Cgroups); !slices.Equal(now, groups) {
				groups = now
				apply()
			}
		case e := <-docs:
			if e.Deleted {
				delete(have, e.Key)
			} else {
				if _, err := policy.Parse(e.Key, e.Value); err != nil {
					c.metrics.errors.WithLabelValues("read capture policy").Inc()
					c.log.Error("capture policy refused, the one in force stays", "key", e.Key, "err", err)
					refused = err.Error()
					c.tellPolicy(inForce{c.inForce.Load().policy, refused})
					continue
				}
				have[e.Key] = e.Value
			}
			refused = ""
			current, from = &c.cfg.Capture, "configuration"
			for _, key := range []string{node, subject.CaptureFleet} {
				if doc, ok := have[key]; ok {
					current, _ = policy.Parse(key, doc) // it was parsed before
					from = key
					break
				}
			}
			groups = policy.Groups(current.Mute.Cgroups)
			apply()
			c.log.Info("capture policy applied", "key", from, "digest", policy.Digest(have[from]))
		}
	}
}

// watchPolicy passes on each revision of a key. NATS may be away: it tries again.
func (c *Collector) watchPolicy(ctx context.Context, key string, docs chan<- bus.Entry) {
	for ctx.Err() == nil {
		kv, err := c.bus.KV(ctx, bus.BucketConfig)
		if err == nil {
			err = kv.Watch(ctx, key, func(e bus.Entry) {
				select {
				case docs <- e:
				case <-ctx.Done():
				}
			}, nil)
		}
		if err != nil && ctx.Err() == nil {
			c.metrics.errors.WithLabelValues("watch capture policy").Inc()
		}
		select {
		case <-ctx.Done():
		case <-time.After(factsEvery):
		}
	}
}
