package collector

import (
	"bytes"
	"context"
	"os"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/cloud"
	"github.com/gyre-sec/gyre/collector/procfs"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// helpers starts the loops beside the reader: looking up processes, telling facts, following the capture policy, and response actions.
func (c *Collector) helpers(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	if c.live {
		wg.Go(func() { c.complete(ctx) })
	}
	wg.Go(func() { c.tellFacts(ctx) })
	if c.live && c.cfg.Containers.Enabled {
		wg.Go(func() { c.findContainers(ctx) })
	}
	if c.cfg.Cloud {
		wg.Go(func() { c.askCloud(ctx) })
	}
	wg.Go(func() { c.followPolicy(ctx) })
	if c.hasher != nil {
		wg.Go(func() { c.hasher.Run(ctx) })
	}
	if c.names != nil {
		wg.Go(func() { c.learnNames(ctx) })
	}
	if c.actions != nil {
		wg.Go(func() { c.act(ctx) })
	}
	return &wg
}

// complete looks up processes in /proc, off the reader's path.
func (c *Collector) complete(ctx context.Context) {
	fs := procfs.New("/proc")
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-c.lookup:
			f, err := fs.Process(k)
			if err != nil {
				continue // it has ended
			}
			select {
			case c.found <- f:
			case <-ctx.Done():
				return
			}
		}
	}
}

// factsEvery is how often the files behind the facts are looked at.
const factsEvery = 10 * time.Second

// tellFacts puts the host's facts and accounts into the bucket, at the start and when they change.
func (c *Collector) tellFacts(ctx context.Context) {
	var kv *bus.KV
	sent := map[string][]byte{}
	var stamp []string
	var told inForce
	var toldCloud *factv1.Cloud
	tick := time.NewTicker(factsEvery)
	defer tick.Stop()
	for {
		now := stamps(c.host.AccountFiles())
		if policy := *c.inForce.Load(); kv == nil || len(sent) < 2 || !equal(stamp, now) || policy != told || c.cloud.Load() != toldCloud {
			toldCloud = c.cloud.Load()
			if kv == nil {
				var err error
				if kv, err = c.bus.KV(ctx, bus.BucketFacts); err != nil {
					kv = nil
					c.factError(ctx, err)
				}
			}
			if kv != nil && c.putFacts(ctx, kv, sent) {
				stamp, told = now, policy
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.policyChanged:
		}
	}
}

// putFacts puts what is not there yet; it tells whether all went well.
func (c *Collector) putFacts(ctx context.Context, kv *bus.KV, sent map[string][]byte) bool {
	host := c.host.Facts()
	host.Node, host.Capture = c.node, c.src.Mode()
	host.Labels, host.Cloud = c.cfg.Labels, c.cloud.Load()
	p := *c.inForce.Load()
	host.Policy, host.PolicyError = p.policy, p.refused
	ok := true
	put := func(key string, value []byte, err error) {
		if err == nil && !bytes.Equal(sent[key], value) {
			_, err = kv.Put(ctx, key, value)
		}
		if err != nil {
			ok = false
			c.factError(ctx, err)
			return
		}
		sent[key] = value
	}
	// The time of the boot is measured anew each time and always a little different: that alone is no change.
	host.BootTime -= host.BootTime % int64(time.Second)
	value, err := host.Encode()
	put(subject.FactHost(c.node), value, err)
	value, err = factv1.Users(c.host.Users()).Encode()
	put(factv1.UsersKey(c.node), value, err)
	return ok
}

// cloudRetry is how long after a vain question the metadata service is asked again; cloudTries is how often.
const (
	cloudRetry = 30 * time.Second
	cloudTries = 10
)

// askCloud asks the metadata service until it answers, a few times.
func (c *Collector) askCloud(ctx context.Context) {
	for range cloudTries {
		found, err := cloud.Ask(ctx, cloud.Address)
		if err == nil {
			c.cloud.Store(&found) // told within seconds
			return
		}
		c.log.Debug("metadata service did not answer", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(cloudRetry):
		}
	}
	c.metrics.errors.WithLabelValues("ask cloud").Inc()
	c.log.Warn("no metadata service of a cloud answers: set collector.cloud: false if there is none")
}

func (c *Collector) factError(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	c.metrics.errors.WithLabelValues("put facts").Inc()
	c.log.Debug("facts were not stored", "err", err)
}

// stamps tells whether files changed: by time, size and inode.
func stamps(files []string) []string {
	var out []string
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			out = append(out, "")
			continue
		}
		out = append(out, info.ModTime().String()+info.Mode().String()+time.Duration(info.Size()).String())
	}
	return out
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
