// Command overhead measures what capture adds to the programs of a host: loops of
// getppid, open+read+close, fork+exec and loopback connect, with and without a
// collector, in pairs that take turns.
//
//	overhead            on this kernel, by the CPU time that the loops use, and in a virtual machine
//	overhead host       the first only
//	overhead guest      the second only: by instructions, in both attach modes
//
// It needs root, and bin/gyre-collector of `make build` for the first.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/gyre-sec/gyre/daemon"
)

// loops are the workloads with how often each is run; the last number is for the virtual machine.
func loops() []loop {
	return []loop{
		{"getppid", 2_000_000, 50_000, getppid},
		{"open+read+close", 200_000, 5_000, openReadClose},
		{"fork+exec", 2_000, 60, forkExec},
		{"connect", 20_000, 400, connect},
	}
}

type loop struct {
	name        string
	host, guest int
	run         func(n int) error
}

func main() {
	what := "all"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	var err error
	switch what {
	case "all", "host":
		if err = host(context.Background()); err == nil && what == "all" {
			err = guest(context.Background())
		}
	case "guest":
		err = guest(context.Background())
	case "work": // a child: work LOOP COUNT
		err = workChild(os.Args[2:])
	case "inside": // the first process of the virtual machine
		err = inside(os.Args[2])
	case "capture": // a collector without NATS, in the virtual machine
		err = captureChild(os.Args[2])
	case "true":
	default:
		err = fmt.Errorf("overhead %s: want host or guest", what)
	}
	if err != nil {
		daemon.PrintError(os.Stderr, err)
		os.Exit(1)
	}
}

// series are the costs of one loop: per iteration, in the rounds.
type series struct{ without, with []float64 }

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// added is the median of what each pair adds.
func (s *series) added() float64 {
	var d []float64
	for i := range s.with {
		d = append(d, s.with[i]-s.without[i])
	}
	return median(d)
}

func report(title, unit string, all map[string]*series) {
	fmt.Printf("\n%s\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "loop\twithout\twith\tadded, %s\tfrom\tto\t\n", unit)
	for _, l := range loops() {
		s := all[l.name]
		if s == nil {
			continue
		}
		var d []float64
		for i := range s.with {
			d = append(d, s.with[i]-s.without[i])
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%+.0f\t%+.0f\t%+.0f\t\n", l.name, median(s.without), median(s.with), s.added(), slices.Min(d), slices.Max(d))
	}
	_ = w.Flush()
}
