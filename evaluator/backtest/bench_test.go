package backtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// falcoRules are the official stable rules, without the shipped ones.
func falcoRules(t testing.TB) *ruleset.Set {
	t.Helper()
	p := filepath.Join("..", "..", "..", "shared", "falco", "rules", "falco_rules.yaml")
	if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the Falco project's rules are not there: %v", err)
		}
		t.Skipf("SKIPPED, the Falco project's rules are not beside the repository: %v", err)
	}
	b := &evaluator.Bundle{MaxRules: 10_000}
	if err := b.Add(p); err != nil {
		t.Fatal(err)
	}
	return bundled(t, b)
}

// bundled compiles what is in b.
func bundled(t testing.TB, b *evaluator.Bundle) *ruleset.Set {
	t.Helper()
	set, err := b.Compile(ruleset.Options{SampleEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// cpu is what the program has used of the processors, which does not grow while others have them.
func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReplay decompresses, decodes, evaluates and discards batches of 256 events of the sample mix, on one worker.
func BenchmarkReplay(b *testing.B) {
	l := samples(b, "n", 64)
	for i := range l {
		l[i].Codec, l[i].Data = bus.S2, s2.Encode(nil, l[i].Data)
	}
	for _, c := range []struct {
		name string
		set  *ruleset.Set
		diff bool
	}{{"falco-stable", falcoRules(b), false}, {"falco-stable-diff", falcoRules(b), true}, {"shipped", bundled(b, &evaluator.Bundle{Builtin: true, MaxRules: 10_000}), false}} {
		b.Run(c.name, func(b *testing.B) {
			began, events := cpu(b), uint64(0)
			for b.Loop() {
				cfg := backtest.Config{After: c.set, Workers: 1}
				if c.diff {
					cfg.Before = c.set
				}
				s, err := backtest.Run(b.Context(), l, cfg)
				if err != nil {
					b.Fatal(err)
				}
				events += s.Events
			}
			used := cpu(b) - began
			b.ReportMetric(float64(used.Nanoseconds())/float64(events), "cpu-ns/event")
			b.ReportMetric(float64(events)/used.Seconds(), "events/cpu-s")
		})
	}
}
