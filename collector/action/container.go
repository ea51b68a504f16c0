package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// Bounds of waiting for a container.
const (
	containerWait = 5 * time.Second
	containerPoll = 10 * time.Millisecond
)

// onContainer pauses, resumes or stops a container by its control group. All its processes must be within the
// policy's scope, and none may be protected: a part of a container cannot be stopped.
func (e *Executor) onContainer(ctx context.Context, req *actionv1.Request, key string, policy *Policy, r *actionv1.Result) error {
	groups, err := e.container(req.Target)
	if err != nil {
		return err
	}
	defer func() {
		for _, g := range groups {
			g.release()
		}
	}()
	starts := map[uint32]int64{}
	var pids []uint32
	for _, g := range groups {
		list, err := g.pids()
		if err != nil {
			return err
		}
		for _, pid := range list {
			start, err := e.member(ctx, pid, req.Action, key, policy)
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				return err
			}
			starts[pid] = start
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return refuse(CodeNoTarget, "container %s has no processes", req.Target)
	}
	list := e.hits(ctx, pids, func(pid uint32) int64 { return starts[pid] })
	r.HitCount, r.Hits = uint64(len(list)), list[:min(len(list), actionv1.MaxHits)]
	if policy.DryRun {
		return dryRun(r, "%s would have been done to %d processes of %s", req.Action, len(pids), groups[0].path)
	}
	for _, g := range groups {
		switch req.Action {
		case actionv1.PauseContainer:
			err = g.freeze(true)
		case actionv1.ResumeContainer:
			err = g.freeze(false)
		default:
			err = g.kill()
		}
		if err != nil {
			return err
		}
	}
	r.Reason = fmt.Sprintf("%s done to %d processes of %s", req.Action, len(pids), groups[0].path)
	return nil
}

// member judges one process of a container and returns its start in ticks since boot.
func (e *Executor) member(ctx context.Context, pid uint32, a actionv1.Action, key string, policy *Policy) (int64, error) {
	p, err := hold(pid)
	if err != nil {
		return 0, err
	}
	defer p.release()
	f, err := e.facts(ctx, p)
	if err != nil {
		return 0, err
	}
	return p.stat.start, e.judge(p, f, a, key, policy)
}

// container holds the control groups of a container: those of the unified hierarchy if processes are in them, else those
// of the freezer.
func (e *Executor) container(id string) ([]*group, error) {
	list, err := hierarchies()
	if err != nil {
		return nil, err
	}
	empty := false
	for _, h := range list {
		groups, ids, err := h.find(id)
		if err != nil {
			return nil, err
		}
		populated := slices.ContainsFunc(groups, func(g *group) bool {
			pids, err := g.pids()
			return err == nil && len(pids) > 0
		})
		if populated && len(ids) == 1 {
			return groups, nil
		}
		for _, g := range groups {
			g.release()
		}
		if len(ids) > 1 {
			return nil, refuse(CodeAmbiguous, "%d containers have an id that begins with %s: give all of it", len(ids), id)
		}
		empty = empty || len(groups) > 0
	}
	if empty {
		return nil, refuse(CodeNoTarget, "container %s has no processes", id)
	}
	return nil, refuse(CodeNoTarget, "no container %s is on this node: give the full id, or at least 12 digits of it", id)
}

// freeze lets the group stand still or go on, and waits until it does.
func (g *group) freeze(on bool) error {
	for deadline := time.Now().Add(containerWait); ; pause(containerPoll) {
		if err := g.setFrozen(on); err != nil {
			return fail(CodeFailed, "%v", err)
		}
		is, err := g.frozen()
		if err != nil {
			return fail(CodeFailed, "%v", err)
		}
		if is == on {
			return nil
		}
		if time.Now().After(deadline) {
			if on { // half a container is worse than none
				_ = g.setFrozen(false)
			}
			return fail(CodeFailed, "control group %s did not become frozen=%t in %s", g.path, on, containerWait)
		}
	}
}

// kill ends all processes of the group and waits for that.
func (g *group) kill() error {
	if g.v2 {
		err := g.write("cgroup.kill", "1")
		if err == nil {
			return g.gone(func() error { return nil })
		}
		if !errors.Is(err, fs.ErrNotExist) { // before Linux 5.14
			return fail(CodeFailed, "%v", err)
		}
	}
	// What is frozen can neither fork nor end, so the pids stay those of the group. Some may not freeze: they are killed anyway.
	freezing := g.setFrozen(true)
	err := g.killEach()
	if thawed := g.setFrozen(false); freezing == nil && thawed != nil {
		return fail(CodeFailed, "%v", thawed)
	}
	if err != nil {
		return fail(CodeFailed, "%v", err)
	}
	return g.gone(g.killEach)
}

// killEach sends SIGKILL to each process that is in the group before and after it is held.
func (g *group) killEach() error {
	before, err := g.pids()
	if err != nil {
		return err
	}
	var held []*process
	defer func() {
		for _, p := range held {
			p.release()
		}
	}()
	for _, pid := range before {
		if p, err := hold(pid); err == nil {
			held = append(held, p)
		} else if !errors.Is(err, errGone) {
			return err
		}
	}
	after, err := g.pids()
	if err != nil {
		return err
	}
	for _, p := range held {
		if !slices.Contains(after, p.stat.pid) || p.stat.pid == self() || p.stat.pid == 1 {
			continue
		}
		if err := p.signal(unix.SIGKILL); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}

// gone waits until no process is left, and calls again what kills them meanwhile.
func (g *group) gone(again func() error) error {
	for deadline := time.Now().Add(containerWait); ; pause(containerPoll) {
		pids, err := g.pids()
		if err != nil {
			return fail(CodeFailed, "%v", err)
		}
		if pids = slices.DeleteFunc(pids, over); len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fail(CodeStillRunning, "%d processes of %s got SIGKILL and have not ended after %s", len(pids), g.path, containerWait)
		}
		if err := again(); err != nil {
			return fail(CodeFailed, "%v", err)
		}
	}
}

// over tells whether a process only waits for its parent.
func over(pid uint32) bool {
	s, err := readStat(pid)
	return errors.Is(err, errGone) || err == nil && s.dead()
}
