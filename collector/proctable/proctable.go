// Package proctable is the process table of one node, fed by the events of that
// node in their order.
//
// What it keeps are images: one program in one process, as it was. An exec makes a
// new [Image] and leaves the old one to the children that were forked from it; a
// change of user or control group makes a variant. An image points to the image
// that its process was forked from, so a lineage shows what happened, not what the
// ancestors became since; an orphan keeps the parent that made it, whoever adopted
// it. Images live as long as something points to them.
//
// A process that was never announced (lost events, or events before the table was
// seeded) gets a placeholder from what the event says; [Table.TakeMissing] names
// those that are worth looking up, [Table.Complete] adds what was found.
//
// The table is bounded: ended processes leave it after a delay or when room is
// needed, a lineage has at most MaxDepth generations. It is not safe for concurrent use.
package proctable

import (
	"iter"
	"maps"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Key names a process for ever within a boot: pids are reused, starts are not.
type Key struct {
	PID uint32
	// Start is the start of the thread group's leader, in nanoseconds since boot.
	Start int64
}

// Facts is what is known of an image. Row holds the columns that are numbers; its
// string, list and table columns are ignored in favour of those here.
type Facts struct {
	Row                         eventv1.Proc
	Exe, Comm, Cwd, TTY, Cgroup string
	Args, Env                   []string
	// Container comes from the control group; the id is empty outside of containers.
	ContainerID, Runtime, PodUID string
	// CgroupID is the control group's id in the v2 hierarchy, ParentStart the parent's start; 0 if not known.
	CgroupID    uint64
	ParentStart int64
}

// Image is one program in one process. Everything but the mark is constant once children or rows may refer to it.
type Image struct {
	Facts
	Parent *Image

	depth int
	// gen and row say where the image stands in the batch being made.
	gen uint64
	row int32
}

// Mark notes the row of the image in the batch of this generation.
func (i *Image) Mark(gen uint64, row int32) { i.gen, i.row = gen, row }

// Marked returns the row in the batch of this generation; false if it has none yet.
func (i *Image) Marked(gen uint64) (int32, bool) { return i.row, i.gen == gen }

// Process is a live or recently ended process.
type Process struct {
	Key
	image    *Image
	variants []*Image // images of the same program that differ in what the header tells
	exited   bool
	asked    bool // listed in missing
}

// Image returns the current one.
func (p *Process) Image() *Image { return p.image }

// Exited tells whether the process has ended.
func (p *Process) Exited() bool { return p.exited }

// Config bounds a table.
type Config struct {
	// MaxProcesses bounds the processes in the table, live and ended.
	MaxProcesses int
	// ExitDelay is how long ended processes stay, in nanoseconds: other processors' events may still come.
	ExitDelay int64
	// MaxDepth bounds a lineage.
	MaxDepth int
}

// DefaultConfig fits a large node.
func DefaultConfig() Config {
	return Config{MaxProcesses: 1 << 18, ExitDelay: 5_000_000_000, MaxDepth: 64}
}

// maxVariants bounds the variants of one image, maxMissing those waiting to be looked up.
const (
	maxVariants = 8
	maxMissing  = 4096
	maxGroups   = 16384
)

// group is a control group that was seen.
type group struct{ path, container, runtime, pod string }

type ended struct {
	key Key
	at  int64
}

// Table is a process table.
type Table struct {
	cfg     Config
	all     map[Key]*Process
	byPID   map[uint32]*Process // the newest of each pid
	ended   []ended             // in order of time; from endedAt on
	endedAt int
	missing []Key
	groups  map[uint64]group
	evicted uint64
}

// New returns an empty table.
func New(cfg Config) *Table {
	return &Table{cfg: cfg, all: make(map[Key]*Process, 1024), byPID: make(map[uint32]*Process, 1024), groups: map[uint64]group{}}
}

// Len is the number of processes, live and recently ended.
func (t *Table) Len() int { return len(t.all) }

// Evicted counts live processes that left because the table was full.
func (t *Table) Evicted() uint64 { return t.evicted }

// Lookup finds a process, nil if it is not known.
func (t *Table) Lookup(k Key) *Process { return t.all[k] }

// ByPID finds the newest process of a pid, nil if none is known.
func (t *Table) ByPID(pid uint32) *Process { return t.byPID[pid] }

// All ranges over the processes, in no order.
func (t *Table) All() iter.Seq[*Process] { return maps.Values(t.all) }

// Change makes an image of a process that differs from the current one as change says. Variants of the old one are forgotten.
func (t *Table) Change(p *Process, change func(*Facts)) {
	old := p.image
	img := &Image{Facts: old.Facts, Parent: old.Parent, depth: old.depth}
	change(&img.Facts)
	p.image, p.variants = img, nil
}

// Add enters a process that was running before it was watched, or replaces what is
// known of it unless events told something newer. Parents may come after their
// children: call [Table.Link] at the end.
func (t *Table) Add(f Facts) *Process {
	k := Key{f.Row.PID, f.Row.Start}
	t.learn(&f)
	if p := t.all[k]; p != nil {
		if p.image.Row.Flags&eventv1.ProcIncomplete != 0 {
			t.fill(p, f)
		}
		return p
	}
	return t.enter(k, &Image{Facts: f})
}

// Link gives processes without a parent the one that their PPID names. It does not
// link to a parent that started later: that is another process under a reused pid.
func (t *Table) Link() {
	for _, p := range t.all {
		if p.image.Parent == nil && p.image.Row.PPID != 0 {
			t.adopt(p)
		}
	}
	for _, p := range t.all {
		p.image.depth = depthOf(p.image, t.cfg.MaxDepth)
	}
}

func (t *Table) adopt(p *Process) {
	parent := t.byPID[p.image.Row.PPID]
	if at := p.image.ParentStart; at != 0 {
		parent = t.all[Key{p.image.Row.PPID, at}]
	}
	if parent == nil || parent == p || parent.Start > p.Start {
		return
	}
	// Starts can be equal by the clock's grain: never make a ring.
	for a := parent.image; a != nil; a = a.Parent {
		if a == p.image {
			return
		}
	}
	p.image.Parent = parent.image
	p.image.depth = parent.image.depth + 1
}

func depthOf(i *Image, limit int) int {
	n := 0
	for a := i.Parent; a != nil && n <= limit; a = a.Parent {
		n++
	}
	return n
}

// Fork enters the child of parent: the same image in a new process. change sets
// the columns that differ. A child that is already known (it was seeded) keeps what is known.
func (t *Table) Fork(parent *Process, child Key, change func(*Facts)) *Process {
	if p := t.all[child]; p != nil {
		if p.image.Parent == nil && parent != p {
			p.image.Parent = parent.image
			t.bound(p.image)
		}
		return p
	}
	img := &Image{Facts: parent.image.Facts, Parent: parent.image}
	img.Row.PID, img.Row.Start, img.Row.PPID = child.PID, child.Start, parent.PID
	img.ParentStart = parent.Start
	img.Row.Flags &^= eventv1.ProcExited
	if change != nil {
		change(&img.Facts)
	}
	t.bound(img)
	return t.enter(child, img)
}

// Exec gives a process a new image. The lineage stays: an exec has no parent of its own.
func (t *Table) Exec(k Key, f Facts) *Process {
	t.learn(&f)
	p := t.all[k]
	if p == nil {
		p = t.enter(k, &Image{Facts: f})
		t.adopt(p)
		t.bound(p.image)
		return p
	}
	if p.image.Row.ExecCount > f.Row.ExecCount && p.image.Row.Flags&eventv1.ProcIncomplete == 0 {
		return p // seeded after this exec happened and the next one too
	}
	old := p.image
	p.image = &Image{Facts: f, Parent: old.Parent, depth: old.depth}
	p.variants = nil
	if p.image.Parent == nil {
		t.adopt(p)
	}
	return p
}

// Exit notes the end of a process at a time since boot. It stays for the delay.
func (t *Table) Exit(k Key, now int64) {
	p := t.all[k]
	if p == nil || p.exited {
		return
	}
	p.exited = true
	p.image.Row.Flags |= eventv1.ProcExited
	t.ended = append(t.ended, ended{k, now})
}

// Reap forgets processes that ended long enough before now.
func (t *Table) Reap(now int64) {
	for t.endedAt < len(t.ended) && now-t.ended[t.endedAt].at >= t.cfg.ExitDelay {
		t.forgetOldest()
	}
}

func (t *Table) forgetOldest() {
	t.remove(t.ended[t.endedAt].key)
	t.endedAt++
	if t.endedAt >= 1024 && t.endedAt*2 >= len(t.ended) {
		t.ended = append(t.ended[:0], t.ended[t.endedAt:]...)
		t.endedAt = 0
	}
}

func (t *Table) remove(k Key) {
	p := t.all[k]
	if p == nil {
		return
	}
	delete(t.all, k)
	if t.byPID[k.PID] == p {
		delete(t.byPID, k.PID)
	}
}

func (t *Table) enter(k Key, img *Image) *Process {
	for len(t.all) >= t.cfg.MaxProcesses {
		if t.endedAt < len(t.ended) {
			t.forgetOldest()
			continue
		}
		for victim := range t.all {
			t.remove(victim)
			t.evicted++
			break
		}
	}
	p := &Process{Key: k, image: img}
	t.all[k] = p
	if other := t.byPID[k.PID]; other == nil || other.Start <= k.Start {
		if other != nil && !other.exited {
			t.Exit(other.Key, k.Start) // its end was lost
		}
		t.byPID[k.PID] = p
	}
	return p
}

// bound sets the depth of a new image and cuts lineages that grow without end, such
// as those of a daemon that lives by forking its successor: half of them is kept,
// so that cutting is rare.
func (t *Table) bound(img *Image) {
	if img.Parent == nil {
		img.depth = 0
		return
	}
	img.depth = img.Parent.depth + 1
	if img.depth < t.cfg.MaxDepth {
		return
	}
	a, n := img, 0
	for a.Parent != nil && n < t.cfg.MaxDepth/2 {
		a = a.Parent
		n++
	}
	a.Parent = nil
	img.depth = n
}
