package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// exitInterrupted is what a shell reports for a program that an interrupt killed.
const exitInterrupted = 130

// SignalContext returns a context that ends at the first SIGINT or SIGTERM, with the signal as its cause. The second
// one exits the process at once with code 130. SIGHUP calls hangup, one call at a time and with a context that ends
// with the first; a nil hangup makes SIGHUP another SIGTERM. The returned function gives the signals back and waits
// for hangup to return.
func SignalContext(parent context.Context, log *slog.Logger, hangup func(context.Context)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	quit := make(chan struct{})
	hangups := make(chan struct{}, 1) // one waiting call stands for all signals since the last began
	var wg sync.WaitGroup
	wg.Go(func() {
		stopped := false
		for {
			select {
			case <-quit:
				return
			case sig := <-signals:
				if sig == syscall.SIGHUP && hangup != nil {
					select {
					case hangups <- struct{}{}:
					default:
					}
					continue
				}
				if stopped {
					log.Warn("exit without stopping", KeySignal, sig.String())
					os.Exit(exitInterrupted)
				}
				stopped = true
				cancel(fmt.Errorf("signal %s", sig))
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-hangups:
				hangup(ctx)
			}
		}
	})
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		cancel(nil)
		close(quit)
		wg.Wait()
	})
}
