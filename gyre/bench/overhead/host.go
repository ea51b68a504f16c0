package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/embedded"
)

const hostRounds = 5

// host measures on this kernel, with bin/gyre-collector and an embedded NATS server.
func host(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gyre-overhead-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg := embedded.DefaultConfig()
	cfg.Dir = dir
	srv, err := embedded.Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer srv.Stop()
	all := map[string]*series{}
	costs := map[string]*cost{}
	for round := range hostRounds {
		for _, with := range []bool{false, true} {
			var c *collector
			if with {
				if c, err = startCollector(dir, srv); err != nil {
					return err
				}
			}
			for _, l := range loops() {
				out, err := exec.CommandContext(ctx, self, "work", l.name, strconv.Itoa(l.host)).Output()
				if err != nil {
					return fmt.Errorf("%s: %w", l.name, err)
				}
				cost, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
				if err != nil {
					return err
				}
				s := all[l.name]
				if s == nil {
					s = &series{}
					all[l.name] = s
				}
				if with {
					s.with = append(s.with, cost)
					if err := c.spent(l.name, costs); err != nil {
						return err
					}
				} else {
					s.without = append(s.without, cost)
				}
			}
			if with {
				if err := c.stop(round == hostRounds-1); err != nil {
					return err
				}
			}
		}
	}
	for _, l := range loops() {
		if x := costs[l.name]; x.events >= 1000 {
			fmt.Printf("collector, %s: %.2f µs of CPU an event, %.0f events\n", l.name, x.cpu.Seconds()*1e6/x.events, x.events)
		}
	}
	report("This kernel: CPU time of the loops, ns per iteration, medians of "+strconv.Itoa(hostRounds)+" rounds", "ns", all)
	return streamSize(ctx, srv)
}

// collector is a running gyre-collector.
type collector struct {
	cmd    *exec.Cmd
	admin  string
	idle   float64
	log    bytes.Buffer
	cpu    time.Duration // used when it was looked at last, and how many events it had
	events float64
}

// cost is what a collector used for the events of a loop, in all rounds.
type cost struct {
	cpu    time.Duration
	events float64
}

// settle is how long a collector has until it is looked at.
const settle = 500 * time.Millisecond

// spent adds what the collector has used since it was looked at last to the cost of a loop.
func (c *collector) spent(loop string, all map[string]*cost) error {
	cpu, events := c.cpu, c.events
	if err := c.look(); err != nil {
		return err
	}
	x := all[loop]
	if x == nil {
		x = &cost{}
		all[loop] = x
	}
	x.cpu, x.events = x.cpu+c.cpu-cpu, x.events+c.events-events
	return nil
}

// look waits until the collector is done with what was, and notes what it has used.
func (c *collector) look() (err error) {
	time.Sleep(settle)
	if c.cpu, err = cpuOf(c.cmd.Process.Pid); err != nil {
		return err
	}
	c.events, err = c.total("gyre_collector_events_total")
	return err
}

// total is the sum of a counter of the collector.
func (c *collector) total(name string) (n float64, err error) {
	resp, err := http.Get("http://" + c.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return 0, err
	}
	for _, m := range families[name].GetMetric() {
		n += m.GetCounter().GetValue()
	}
	return n, nil
}

func startCollector(dir string, srv *embedded.Server) (*collector, error) {
	c := &collector{admin: "127.0.0.1:19173"}
	c.cmd = exec.Command("bin/gyre-collector", "--set", "nats.url="+srv.URL(), "--set", "admin.addr="+c.admin, "--set", "collector.spool_dir="+filepath.Join(dir, "spool"))
	c.cmd.Env = append(os.Environ(), "GYRE_NATS_TOKEN="+srv.Token())
	c.cmd.Stderr = &c.log
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bin/gyre-collector: %w", err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + c.admin + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			_ = c.cmd.Process.Kill()
			return nil, fmt.Errorf("the collector is not ready: %s", c.log.String())
		}
	}
	time.Sleep(2 * time.Second)
	c.idle = rss(c.cmd.Process.Pid)
	return c, c.look()
}

func (c *collector) stop(tell bool) error {
	if tell {
		lost, err := c.total("gyre_collector_lost_events_total")
		if err != nil {
			return err
		}
		fmt.Printf("collector: %.0f events, %.0f lost, %.2f s of CPU with its start, resident memory %.0f MiB two seconds after it is ready, %.0f MiB after the load\n",
			c.events, lost, c.cpu.Seconds(), c.idle, rss(c.cmd.Process.Pid))
	}
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the collector ended badly: %w: %s", err, c.log.String())
	}
	return nil
}

// rss is the resident memory of a process, in MiB.
func rss(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// cpuOf is the CPU time that a process has used; a tick is 10 ms (USER_HZ).
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, errors.New("read CPU time: short line")
	}
	u, err1 := strconv.Atoi(f[11])
	s, err2 := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// streamSize prints bytes per event on EVENTS.
func streamSize(ctx context.Context, srv *embedded.Server) error {
	b, err := bus.ConnectInProcess(ctx, srv, bus.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer b.Close()
	st, err := b.Status(ctx)
	if err != nil {
		return err
	}
	events, err := countEvents(ctx, b)
	if err != nil {
		return err
	}
	for _, s := range st {
		if s.Name == bus.StreamEvents && events > 0 {
			fmt.Printf("stream EVENTS: %.1f bytes per event, as stored (%d events of the loops above)\n", float64(s.Bytes)/float64(events), events)
		}
	}
	return nil
}
