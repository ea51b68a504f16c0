package action

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// Bounds of the search for descendants. A tree is complete when looks at least settle apart find nobody new.
const (
	treeWait = 10 * time.Second
	settle   = 30 * time.Millisecond
)

// tree is a process and what descends from it, while it is being stopped and killed.
type tree struct {
	e      *Executor
	action actionv1.Action
	key    string
	policy *Policy
	root   *process
	rootID proctable.Key
	stop   bool // send SIGSTOP to what is found
	hit    map[uint32]*process
	left   map[uint32]*process // descendants that the policy does not permit to hit; what descends from them is looked at
	why    string              // why the first of them was left
}

// killTree ends a process and its descendants. All are stopped before one is killed, so that none can fork, or see its
// parent die, in between; those found by then are looked for again until there are no new ones.
func (e *Executor) killTree(ctx context.Context, req *actionv1.Request, key string, policy *Policy, r *actionv1.Result) error {
	id, err := actionv1.ParseExecID(req.Target)
	if err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	root, err := e.open(ctx, id)
	if err != nil {
		return err
	}
	t := &tree{
		e: e, action: req.Action, key: key, policy: policy, root: root, rootID: proctable.Key{PID: id.PID, Start: id.Start},
		hit: map[uint32]*process{id.PID: root}, left: map[uint32]*process{},
	}
	defer t.release()
	f, err := e.facts(ctx, root)
	if err != nil {
		return refuse(CodeNoTarget, "process %d has ended", id.PID)
	}
	if err := e.judge(root, f, req.Action, key, policy); err != nil {
		return err
	}
	if err := t.spares(ctx); err != nil {
		return err
	}
	if policy.DryRun {
		for n := 1; n > 0; {
			if n, err = t.look(ctx); err != nil {
				return err
			}
		}
		t.hits(ctx, req.Target, r)
		return dryRun(r, "%d processes would have been killed%s", len(t.hit), t.leftText())
	}
	if err := root.signal(unix.SIGSTOP); errors.Is(err, errGone) {
		return refuse(CodeNoTarget, "process %d has ended", id.PID)
	} else if err != nil {
		return err
	}
	t.stop = true
	complete := t.collect(ctx)
	t.hits(ctx, req.Target, r) // before they end: the table forgets them
	reason, err := t.end(ctx, complete)
	if len(t.hit) > int(r.HitCount) {
		t.hits(ctx, req.Target, r)
	}
	r.Reason = reason
	return err
}

// spares refuses a tree that this process is in.
func (t *tree) spares(ctx context.Context) error {
	all, err := processes()
	if err != nil {
		return err
	}
	direct := t.descendants(ctx, all)
	for _, pid := range append([]uint32{self()}, t.e.cfg.Protect...) {
		at := pid
		for range len(all) { // the parents of a process that is alive end at 0; never turn in a circle that a race made
			_, is := direct[at]
			if is || at == t.root.stat.pid {
				return refuse(CodeProtected, "process %d, a part of gyre, descends from process %d", pid, t.root.stat.pid)
			}
			if at = all[at].ppid; at == 0 {
				break
			}
		}
	}
	return nil
}

// collect stops descendants until there are no new ones; false means that time was up, or a look failed.
func (t *tree) collect(ctx context.Context) bool {
	deadline := time.Now().Add(treeWait)
	quiet := time.Time{} // since when nobody new was found
	for time.Now().Before(deadline) {
		n, err := t.look(ctx)
		if err != nil {
			return false
		}
		switch {
		case n > 0:
			quiet = time.Time{}
			continue
		case quiet.IsZero():
			quiet = time.Now()
		case time.Since(quiet) >= settle:
			return true
		}
		pause(settle)
	}
	return false
}

func pause(d time.Duration) { <-time.After(d) }

// look finds descendants that are not known yet, stops them if asked to, and tells how many there were.
func (t *tree) look(ctx context.Context) (int, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	found := 0
	for pid, parent := range t.descendants(ctx, all) {
		p, err := hold(pid)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return found, err
		}
		// The pid may be another process's by now, and so may the parent's.
		f, gone := t.e.facts(ctx, p)
		if gone != nil || p.stat.start != all[pid].start || parent != nil && !parent.alive() {
			p.release()
			continue
		}
		found++
		if err := t.e.judge(p, f, t.action, t.key, t.policy); err != nil {
			t.left[pid] = p
			t.why = cmp.Or(t.why, asProblem(err).reason)
			continue
		}
		t.hit[pid] = p
		if t.stop {
			_ = p.signal(unix.SIGSTOP) // if it has ended it cannot fork
		}
	}
	return found, nil
}

// descendants finds processes that are new and descend from a known one: children by their parent, orphans by the
// session that a known process leads, and by the lineage that the process table keeps. The value is the known process that
// proves it, which must be alive when the descendant is held; nil if the table proves it.
func (t *tree) descendants(ctx context.Context, all map[uint32]stat) map[uint32]*process {
	out := map[uint32]*process{}
	known := func(pid uint32) *process { return cmp.Or(t.hit[pid], t.left[pid]) }
	for pid, s := range all {
		if known(pid) != nil {
			continue
		}
		if p := known(s.ppid); p != nil && s.start >= p.stat.start {
			out[pid] = p
		} else if p := known(s.session); p != nil && p.stat.session == p.stat.pid && s.start >= p.stat.start {
			out[pid] = p // only descendants of its leader are in a session
		}
	}
	t.e.table(ctx, func(table *proctable.Table) {
		for _, k := range table.Descendants(t.rootID) {
			if s, ok := all[k.PID]; ok && s.start == k.Start/tick && known(k.PID) == nil {
				out[k.PID] = nil
			}
		}
	})
	return out
}

// end kills what was stopped, looks once more, and waits for all.
func (t *tree) end(ctx context.Context, complete bool) (string, error) {
	var failed error
	killed := map[uint32]bool{}
	for range 8 {
		for pid, p := range t.hit {
			if killed[pid] {
				continue
			}
			killed[pid] = true
			if err := p.signal(unix.SIGKILL); err != nil && !errors.Is(err, errGone) {
				failed = err
			}
		}
		// Somebody may have let one go on before it was killed; then the process table knows its children.
		n, err := t.look(ctx)
		if err != nil {
			failed = cmp.Or(failed, err)
		}
		if n == 0 {
			break
		}
	}
	deadline := time.Now().Add(endWait)
	running := 0
	for _, p := range t.hit {
		if !p.ended(deadline) {
			running++
		}
	}
	switch {
	case failed != nil:
		return "", failed
	case running > 0:
		return "", fail(CodeStillRunning, "%d of %d processes got SIGKILL and have not ended after %s%s", running, len(t.hit), endWait, t.leftText())
	case !complete:
		return "", fail(CodeStillRunning, "killed %d processes, but new ones were still found after %s%s", len(t.hit), treeWait, t.leftText())
	}
	return fmt.Sprintf("killed %d processes%s", len(t.hit), t.leftText()), nil
}

func (t *tree) leftText() string {
	if len(t.left) == 0 {
		return ""
	}
	return fmt.Sprintf("; left %d descendants alone: %s", len(t.left), t.why)
}

// hits lists what is hit, the root first.
func (t *tree) hits(ctx context.Context, rootID string, r *actionv1.Result) {
	pids := slices.Sorted(maps.Keys(t.hit))
	list := t.e.hits(ctx, pids, func(pid uint32) int64 { return t.hit[pid].stat.start })
	for i := range list {
		if list[i].PID == t.root.stat.pid {
			list[i].ExecID = rootID
			list[0], list[i] = list[i], list[0]
		}
	}
	r.HitCount = uint64(len(list))
	r.Hits = list[:min(len(list), actionv1.MaxHits)]
}

// hits gives processes their exec ids, as far as the table knows them.
func (e *Executor) hits(ctx context.Context, pids []uint32, start func(uint32) int64) []actionv1.Hit {
	known := e.images(ctx, pids)
	list := make([]actionv1.Hit, len(pids))
	for i, pid := range pids {
		list[i].PID = pid
		if k, ok := known[pid]; ok && k.Start/tick == start(pid) {
			list[i].ExecID = actionv1.ExecID{Node: e.cfg.Node, Boot: e.boot[:min(8, len(e.boot))], Start: k.Start, PID: pid, Execs: k.execs}.String()
		}
	}
	return list
}

func (t *tree) release() {
	for _, known := range []map[uint32]*process{t.hit, t.left} {
		for _, p := range known {
			p.release()
		}
	}
}
