package cli

import (
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"github.com/gyre-sec/gyre/evaluator/backtest"
)

// progressBar shows how far a replay is: a bar on a terminal, a line every few seconds elsewhere.
type progressBar struct{ done, ended chan struct{} }

// progressEvery is how often a line is written where there is no terminal.
const progressEvery = 10 * time.Second

// startProgress shows p until stop is called.
func (a *app) startProgress(r *replayRun, p *backtest.Progress) *progressBar {
	b := &progressBar{make(chan struct{}), make(chan struct{})}
	if r.f.quiet {
		close(b.ended)
		return b
	}
	first, last := max(r.f.spec.FromSeq, r.bounds.FirstSeq), r.bounds.LastSeq
	if to := r.f.spec.ToSeq; to > 0 {
		last = min(last, to)
	}
	if isTerminal(a.err) {
		go b.bar(a, p, first, last)
	} else {
		go b.lines(a, p, first, last)
	}
	return b
}

func (b *progressBar) stop() {
	close(b.done)
	<-b.ended
}

// pace measures events per second between two looks.
type pace struct {
	events uint64
	at     time.Time
}

func (x *pace) rate(events uint64) float64 {
	now := time.Now()
	d := now.Sub(x.at).Seconds()
	r := 0.0
	if d > 0 {
		r = float64(events-x.events) / d
	}
	x.events, x.at = events, now
	return r
}

func (b *progressBar) bar(a *app, p *backtest.Progress, first, last uint64) {
	defer close(b.ended)
	w := progress.NewWriter()
	w.SetOutputWriter(a.err)
	w.SetUpdateFrequency(200 * time.Millisecond)
	w.SetMessageLength(44)
	w.Style().Visibility.ETA = true
	w.Style().Visibility.Value = false
	w.Style().Options.TimeInProgressPrecision = time.Second
	t := &progress.Tracker{Message: "replay", Total: int64(last-first) + 1, AutoStopDisabled: true}
	w.AppendTracker(t)
	rendered := make(chan struct{})
	go func() {
		defer close(rendered)
		w.Render()
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	speed := pace{at: time.Now()}
	for {
		select {
		case <-b.done:
			t.MarkAsDone()
			w.Stop()
			<-rendered
			return
		case <-tick.C:
			if seq := p.Seq.Load(); seq >= first {
				t.SetValue(int64(seq-first) + 1)
			}
			n := p.Events.Load()
			t.UpdateMessage(fmt.Sprintf("%d events, %.0f/s, %d alerts", n, speed.rate(n), p.After.Load()))
		}
	}
}

func (b *progressBar) lines(a *app, p *backtest.Progress, first, last uint64) {
	defer close(b.ended)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	started := time.Now()
	speed := pace{at: started}
	for {
		select {
		case <-b.done:
			return
		case <-tick.C:
			n, seq := p.Events.Load(), p.Seq.Load()
			line := fmt.Sprintf("%d events, %.0f/s, %d alerts", n, speed.rate(n), p.After.Load())
			if seq > first && last > first {
				part := float64(seq-first) / float64(last-first)
				left := time.Duration(float64(time.Since(started)) * (1 - part) / part)
				line = fmt.Sprintf("%.1f %%, %s, %s left", 100*part, line, left.Round(time.Second))
			}
			fmt.Fprintln(a.err, line)
		}
	}
}
