package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// loadFlags say how a recording is played as the work of many nodes.
type loadFlags struct {
	asLoad bool
	nodes  int
	speed  float64
	stream string
}

func (l *loadFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&l.asLoad, "as-load", false, "publish a recording (--from-file) as the work of virtual nodes, to see what a pipeline bears")
	f.IntVar(&l.nodes, "nodes", 1, "with --as-load: virtual nodes for each node of the recording")
	f.Float64Var(&l.speed, "speed", 1, "with --as-load: factor of the recording's pace; 0 is as fast as possible")
	f.StringVar(&l.stream, "to-stream", "events", "with --as-load: where to publish, events or enriched")
}

func (l *loadFlags) check(file string) error {
	switch {
	case file == "":
		return daemon.Hint(errors.New("--as-load plays a recording"), "add --from-file FILE; gyre record makes one")
	case l.nodes < 1 || l.nodes > 100_000:
		return fmt.Errorf("--nodes is %d, want 1 to 100000", l.nodes)
	case l.speed < 0:
		return fmt.Errorf("--speed is %g, want 0 or more", l.speed)
	case l.stream != "events" && l.stream != "enriched":
		return fmt.Errorf("--to-stream is %q, want events or enriched", l.stream)
	}
	return nil
}

// replayAsLoad publishes a recording as the work of virtual nodes. Times of events are moved to now.
func (a *app) replayAsLoad(ctx context.Context, f *replayFlags) error {
	l := &f.load
	if err := l.check(f.spec.File); err != nil {
		return err
	}
	file, err := openRecording(f.spec.File, !f.noVerify)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	p := &player{l: l, pub: b.NewPublisher(bus.PublisherConfig{Stage: "load", MaxMessages: 1024, MaxBytes: 32 << 20}), virtual: recording.NewVirtual(rand.Text())}
	started := time.Now()
	err = file.Read(ctx, func(x bus.Packed) error {
		if err := p.play(ctx, x); err != nil {
			return err
		}
		if !f.quiet && time.Since(p.said) > progressEvery {
			p.said = time.Now()
			fmt.Fprintf(a.err, "%d events in %d batches, %.0f/s\n", p.events, p.batches, float64(p.events)/time.Since(started).Seconds())
		}
		return nil
	})
	if ctx.Err() != nil { // what is on its way is still stored
		err = nil
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err = errors.Join(err, p.pub.Flush(flush))
	if n := p.failed.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d batches could not be published: %w", n, *p.first.Load()))
	}
	took := time.Since(started).Seconds()
	_, werr := fmt.Fprintf(a.out, "published %d events in %d batches of %d virtual nodes to %s in %.1f s: %.0f events/s; the furthest behind its time was %s\n",
		p.events, p.batches, l.nodes*len(file.Index().Nodes), l.stream, took, float64(p.events)/took, p.late.Round(time.Millisecond))
	if ctx.Err() != nil && err == nil {
		err = exitPartial
	}
	return errors.Join(err, werr)
}

// player publishes batches at their pace.
type player struct {
	l               *loadFlags
	pub             *bus.Publisher
	virtual         *recording.Virtual
	first           atomic.Pointer[error]
	failed          atomic.Uint64
	origin          time.Time // of the recording
	began, said     time.Time
	late            time.Duration
	events, batches uint64
}

func (p *player) play(ctx context.Context, x bus.Packed) error {
	if p.began.IsZero() {
		p.began, p.said, p.origin = time.Now(), time.Now(), x.Time
	}
	if p.l.speed > 0 {
		due := p.began.Add(time.Duration(float64(x.Time.Sub(p.origin)) / p.l.speed))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		} else {
			p.late = max(p.late, -wait)
		}
	}
	batch, err := p.virtual.Decode(x.Data)
	if err != nil {
		return fmt.Errorf("batch %d of the recording: %w", x.Seq, err)
	}
	shift := time.Since(x.Time).Nanoseconds()
	for n := range p.l.nodes {
		data, node, boot := p.virtual.Encode(n+1, shift)
		to := subject.Event(batch.Source, node)
		if p.l.stream == "enriched" {
			to = subject.Enriched(batch.Source, node)
		}
		id := node + "/" + boot + "/" + strconv.FormatUint(batch.FirstSeq, 10) + "/" + strconv.Itoa(batch.Count)
		if err := p.pub.PublishAsync(ctx, bus.Message{Subject: to, ID: id, Data: data}, p.settled); err != nil {
			return err
		}
		p.batches++
		p.events += uint64(batch.Count)
	}
	return nil
}

func (p *player) settled(err error) {
	if err != nil {
		p.failed.Add(1)
		p.first.CompareAndSwap(nil, &err)
	}
}
