package action

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// tableWait bounds a question to the process table: it answers within milliseconds unless capture is stopping.
const tableWait = 2 * time.Second

// table asks the process table; false if there is none, or it does not answer.
func (e *Executor) table(ctx context.Context, use func(*proctable.Table)) bool {
	if e.cfg.Table == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	return e.cfg.Table(ctx, use) == nil
}

// image is what the table says about the newest process of a pid.
type image struct {
	proctable.Key
	execs      uint32
	incomplete bool
	exe        string
}

// images looks up the newest processes of pids; those that are not known are left out.
func (e *Executor) images(ctx context.Context, pids []uint32) map[uint32]image {
	found := make(map[uint32]image, len(pids))
	ok := e.table(ctx, func(t *proctable.Table) {
		for _, pid := range pids {
			if p := t.ByPID(pid); p != nil {
				i := p.Image()
				found[pid] = image{p.Key, i.Row.ExecCount, i.Row.Flags&eventv1.ProcIncomplete != 0, i.Exe}
			}
		}
	})
	if !ok {
		return nil
	}
	return found
}

// open holds the process that an exec id names, or refuses because it is another one by now.
func (e *Executor) open(ctx context.Context, id actionv1.ExecID) (*process, error) {
	if id.Node != e.cfg.Node {
		return nil, refuse(CodeForeignNode, "the exec id is of node %q, this is %q", id.Node, e.cfg.Node)
	}
	if id.Boot != e.boot[:min(8, len(e.boot))] {
		return nil, refuse(CodeOtherBoot, "the exec id is of boot %s, this is %s: the process is gone", id.Boot, e.boot[:min(8, len(e.boot))])
	}
	p, err := hold(id.PID)
	if errors.Is(err, errGone) {
		return nil, refuse(CodeNoTarget, "process %d has ended", id.PID)
	}
	if err != nil {
		return nil, err
	}
	if err := e.same(ctx, p, id); err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// same checks that a process is the one that an exec id names: by the start as exactly as /proc tells, and by the exact
// start and the number of execs if the process table knows the pid.
func (e *Executor) same(ctx context.Context, p *process, id actionv1.ExecID) error {
	if p.stat.start != id.Start/tick {
		return refuse(CodeReused, "pid %d is another process's now: that one started %s after boot, the one named %s",
			id.PID, time.Duration(p.stat.start*tick), time.Duration(id.Start))
	}
	known, ok := e.images(ctx, []uint32{id.PID})[id.PID]
	switch {
	case !ok:
	case known.Start != id.Start:
		return refuse(CodeReused, "pid %d is another process's now: that one started %d ns after boot, the one named %d", id.PID, known.Start, id.Start)
	case known.execs != id.Execs && !known.incomplete:
		now := id
		now.Execs = known.execs
		return refuse(CodeChanged, "the process executes %s now: its exec id is %s", known.exe, now)
	}
	if !p.alive() {
		return refuse(CodeNoTarget, "process %d has ended", id.PID)
	}
	return nil
}

// facts reads what the policy asks about a process that is held.
func (e *Executor) facts(ctx context.Context, p *process) (*proctable.Facts, error) {
	f, err := e.fs.Process(proctable.Key{PID: p.stat.pid, Start: p.stat.start * tick})
	if err != nil || !p.alive() {
		return nil, errGone
	}
	if f.Exe == "" { // the first thread has ended, others live
		if known, ok := e.images(ctx, []uint32{p.stat.pid})[p.stat.pid]; ok && known.Start/tick == p.stat.start {
			f.Exe = known.exe
		}
	}
	return &f, nil
}

// spare tells why a process is never hit; "" means that it may be, if the policy permits it.
func (e *Executor) spare(p *process, f *proctable.Facts, policy *Policy) string {
	pid := p.stat.pid
	switch {
	case pid == 1:
		return "it is process 1"
	case p.stat.flags&kernelThread != 0:
		return "it is a thread of the kernel"
	case pid == self():
		return "it is the collector"
	case slices.Contains(e.cfg.Protect, pid) || e.ours(f):
		return "it is a part of gyre"
	}
	return policy.protects(f)
}

// ours tells whether a process runs one of our programs: from the directory of this one, and named as they are. A
// name alone proves nothing.
func (e *Executor) ours(f *proctable.Facts) bool {
	own, err := os.Executable()
	if err != nil || f.ContainerID != "" || filepath.Dir(own) != filepath.Dir(f.Exe) {
		return false
	}
	name := filepath.Base(f.Exe)
	return name == filepath.Base(own) || name == "gyre" || strings.HasPrefix(name, "gyre-")
}

// judge refuses what must not be hit, or what the policy does not permit.
func (e *Executor) judge(p *process, f *proctable.Facts, a actionv1.Action, key string, policy *Policy) error {
	if why := e.spare(p, f, policy); why != "" {
		return refuse(CodeProtected, "process %d is never hit: %s", p.stat.pid, why)
	}
	if !policy.permits(a, key, f) {
		return refuse(CodeOutOfScope, "the policy does not permit %s on process %d (%s, user %d, control group %s)", a, p.stat.pid, f.Exe, f.Row.UID, f.Cgroup)
	}
	return nil
}

// endWait is how long killed processes may take to end.
const endWait = 3 * time.Second

// kill ends one process.
func (e *Executor) kill(ctx context.Context, req *actionv1.Request, key string, policy *Policy, r *actionv1.Result) error {
	id, err := actionv1.ParseExecID(req.Target)
	if err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	p, err := e.open(ctx, id)
	if err != nil {
		return err
	}
	defer p.release()
	f, err := e.facts(ctx, p)
	if err != nil {
		return refuse(CodeNoTarget, "process %d has ended", id.PID)
	}
	if err := e.judge(p, f, req.Action, key, policy); err != nil {
		return err
	}
	r.Hits, r.HitCount = []actionv1.Hit{{ExecID: req.Target, PID: id.PID}}, 1
	if policy.DryRun {
		return dryRun(r, "process %d (%s) would have been killed", id.PID, f.Exe)
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		r.Hits, r.HitCount = nil, 0
		if errors.Is(err, errGone) {
			return refuse(CodeNoTarget, "process %d has ended", id.PID)
		}
		return err
	}
	if !p.ended(time.Now().Add(endWait)) {
		return fail(CodeStillRunning, "process %d got SIGKILL and has not ended after %s: it waits in the kernel", id.PID, endWait)
	}
	r.Reason = "killed process " + f.Exe
	return nil
}

func dryRun(r *actionv1.Result, format string, args ...any) error {
	r.DryRun = true
	return refuse(CodeDryRun, "dry_run is set in the policy: "+format, args...)
}
