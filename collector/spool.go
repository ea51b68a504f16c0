package collector

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/collector/spool"
	"github.com/gyre-sec/gyre/daemon"
)

// buffer is the spool: a [spool.Memory], or a [spool.Disk].
type buffer interface {
	// Of the reading goroutine. They never wait.
	Buffer() []byte
	Put(it spool.Item) spool.Drop
	Bytes() int
	Close()
	// Of the publishing one.
	Next(ctx context.Context) (spool.Item, error)
	// Ends of an item from Next.
	Done(it spool.Item)
	Refuse(it spool.Item, reason string) spool.Drop
	Return(it spool.Item) spool.Drop
	// Discard comes last.
	Discard() spool.Drop
}

func (c *Collector) newSpool(reg prometheus.Registerer) buffer {
	if c.cfg.SpoolDir == "" {
		return spool.NewMemory(int(c.cfg.Spool))
	}
	sync, _ := c.cfg.spoolSync() // validated
	d := spool.NewDisk(spool.DiskConfig{
		Dir: c.cfg.SpoolDir, Memory: int(c.cfg.Spool), Bytes: int64(c.cfg.SpoolDisk), Sync: sync, Keep: c.cfg.SpoolKeep,
		Backlog: c.cfg.InFlight / 2, OnDrop: c.drop, Log: c.log.With(daemon.KeyComponent, "spool"),
	})
	reg.MustRegister(d)
	return d
}

// openSpool takes the directory of the spool, if there is one.
func (c *Collector) openSpool() error {
	if d, ok := c.spool.(*spool.Disk); ok {
		return d.Open()
	}
	return nil
}

// settleTimeout is how long a publisher that was told to end may take for it.
const settleTimeout = 5 * time.Second

// settle waits until the publisher has given everything back, so that the spool knows what was not stored.
func (c *Collector) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := c.pub.Flush(ctx); err != nil {
		c.log.Warn("batches on their way at the end were not given back", "err", err)
	}
}

// spoolSync is how long a batch may wait for a sync: 0 not at all, less than 0 for ever.
func (c Config) spoolSync() (time.Duration, error) {
	switch c.SpoolSync {
	case "always":
		return 0, nil
	case "never":
		return -1, nil
	}
	d, err := time.ParseDuration(c.SpoolSync)
	if err != nil || d < 10*time.Millisecond || d > time.Hour {
		return 0, fmt.Errorf("spool_sync is %q, want always, never, or an interval from 10ms to 1h", c.SpoolSync)
	}
	return d, nil
}

// minSpoolDisk holds eight of the largest batches.
const minSpoolDisk = 4 * daemon.MiB

func (c Config) validateSpool() []error {
	var errs []error
	if c.SpoolDisk < minSpoolDisk {
		errs = append(errs, fmt.Errorf("spool_disk is %s, want at least %s", c.SpoolDisk, minSpoolDisk))
	}
	if _, err := c.spoolSync(); err != nil {
		errs = append(errs, err)
	}
	if c.SpoolKeep < 0 || c.SpoolKeep > 24*time.Hour {
		errs = append(errs, fmt.Errorf("spool_keep is %s, want 0 to 24h", c.SpoolKeep))
	}
	return errs
}
