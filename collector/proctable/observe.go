package proctable

import "github.com/gyre-sec/gyre/schemas/eventv1"

// Header is what every event says about the process that acted.
type Header struct {
	Key
	// Thread is set when a thread other than the first acted: its name is not the process's.
	Thread    bool
	UID, GID  uint32
	ExecCount uint32
	// CgroupID names the control group; 0 if it is not known.
	CgroupID uint64
	// CapEff and CapPerm are the capabilities of the thread that acted.
	CapEff, CapPerm uint64
	Comm            []byte
}

// Observe returns the process that acted, with its image brought up to what the
// event says. An unknown process is entered as a placeholder.
func (t *Table) Observe(h *Header) *Process {
	p := t.all[h.Key]
	if p == nil {
		return t.placeholder(h)
	}
	if p.image.Row.ExecCount < h.ExecCount {
		t.missedExec(p, h)
	}
	if p.image.differs(h) {
		t.vary(p, h)
	}
	return p
}

// missedExec replaces the image of a process that has executed something unseen.
func (t *Table) missedExec(p *Process, h *Header) {
	f := p.image.Facts
	f.Exe, f.Args, f.Comm = "", nil, string(h.Comm)
	f.Row.ExecCount, f.Row.ExecTime, f.Row.ExeIno, f.Row.ExeDev, f.Row.ExeCtime, f.Row.ExeMtime = h.ExecCount, 0, 0, 0, 0, 0
	f.Row.Flags = f.Row.Flags&eventv1.ProcKernelThread | eventv1.ProcIncomplete
	p.image = &Image{Facts: f, Parent: p.image.Parent, depth: p.image.depth}
	p.variants = nil
	p.asked = false
	t.ask(p)
}

func (i *Image) differs(h *Header) bool {
	r := &i.Row
	return r.UID != h.UID || r.GID != h.GID || r.CapEffective != h.CapEff || r.CapPermitted != h.CapPerm || h.CgroupID != 0 && i.CgroupID != h.CgroupID || !h.Thread && len(h.Comm) > 0 && i.Comm != string(h.Comm)
}

// vary makes the image that fits the header the current one. Threads of a process can have users of
// their own, so earlier variants are kept and found again.
func (t *Table) vary(p *Process, h *Header) {
	for _, v := range p.variants {
		if !v.differs(h) {
			p.image = v
			return
		}
	}
	old := p.image
	img := &Image{Facts: old.Facts, Parent: old.Parent, depth: old.depth}
	if img.Row.UID != h.UID {
		// The header has no effective ids: a change of the real one nearly always is one of both.
		img.Row.UID, img.Row.EUID = h.UID, h.UID
	}
	if img.Row.GID != h.GID {
		img.Row.GID, img.Row.EGID = h.GID, h.GID
	}
	img.Row.CapEffective, img.Row.CapPermitted = h.CapEff, h.CapPerm
	if !h.Thread && len(h.Comm) > 0 {
		img.Comm = string(h.Comm)
	}
	if h.CgroupID != 0 && img.CgroupID != h.CgroupID {
		t.moved(p, img, h.CgroupID)
	}
	if len(p.variants) == 0 {
		p.variants = append(p.variants, old)
	}
	if len(p.variants) >= maxVariants {
		p.variants = p.variants[1:]
	}
	p.variants = append(p.variants, img)
	p.image = img
}

// moved puts an image into another control group: a known one, or one to be looked up.
func (t *Table) moved(p *Process, img *Image, id uint64) {
	known := img.CgroupID == 0 // of a process found in /proc, which does not tell the id
	img.CgroupID = id
	if g, ok := t.groups[id]; ok {
		img.setGroup(g)
	} else if !known {
		p.asked = false
		t.ask(p)
	}
}

func (i *Image) setGroup(g group) {
	i.Cgroup, i.ContainerID, i.Runtime, i.PodUID = g.path, g.container, g.runtime, g.pod
}

// learn keeps the path of a control group for processes that move into it.
func (t *Table) learn(f *Facts) {
	if f.CgroupID == 0 || f.Cgroup == "" {
		return
	}
	if _, ok := t.groups[f.CgroupID]; ok {
		return
	}
	if len(t.groups) >= maxGroups {
		clear(t.groups)
	}
	t.groups[f.CgroupID] = group{f.Cgroup, f.ContainerID, f.Runtime, f.PodUID}
}

func (t *Table) placeholder(h *Header) *Process {
	img := &Image{Facts: Facts{Comm: string(h.Comm)}}
	img.CgroupID = h.CgroupID
	if g, ok := t.groups[h.CgroupID]; ok {
		img.setGroup(g)
	}
	img.Row = eventv1.Proc{
		PID: h.PID, Start: h.Start, ExecCount: h.ExecCount, UID: h.UID, EUID: h.UID, GID: h.GID, EGID: h.GID,
		CapEffective: h.CapEff, CapPermitted: h.CapPerm, LoginUID: eventv1.NoUID, SessionID: eventv1.NoUID, Flags: eventv1.ProcIncomplete,
	}
	p := t.enter(h.Key, img)
	t.ask(p)
	return p
}

func (t *Table) ask(p *Process) {
	if !p.asked && len(t.missing) < maxMissing {
		p.asked = true
		t.missing = append(t.missing, p.Key)
	}
}

// TakeMissing returns processes that are worth looking up, each at most once.
func (t *Table) TakeMissing() []Key {
	m := t.missing
	t.missing = nil
	return m
}

// Complete adds what was found about a process that [Table.TakeMissing] named. Anything that events told since is kept.
func (t *Table) Complete(f Facts) {
	p := t.all[Key{f.Row.PID, f.Row.Start}]
	if p == nil {
		return
	}
	if p.image.Row.Flags&eventv1.ProcIncomplete != 0 {
		t.fill(p, f)
	} else if f.Cgroup != p.image.Cgroup {
		img := &Image{Facts: p.image.Facts, Parent: p.image.Parent, depth: p.image.depth}
		img.setGroup(group{f.Cgroup, f.ContainerID, f.Runtime, f.PodUID})
		p.image, p.variants = img, nil
	}
	t.learn(&p.image.Facts)
	if p.image.Parent == nil {
		t.adopt(p)
		t.bound(p.image)
	}
}

// fill replaces the facts of a placeholder by better ones. The row keeps its flag: the start was not seen.
func (t *Table) fill(p *Process, f Facts) {
	old := p.image
	img := &Image{Facts: f, Parent: old.Parent, depth: old.depth}
	img.Row.Flags |= eventv1.ProcIncomplete | old.Row.Flags&eventv1.ProcExited
	img.Row.UID, img.Row.GID = old.Row.UID, old.Row.GID
	img.Row.CapEffective, img.Row.CapPermitted = old.Row.CapEffective, old.Row.CapPermitted
	img.Row.ExecCount = max(old.Row.ExecCount, f.Row.ExecCount)
	if f.CgroupID == 0 {
		img.CgroupID = old.CgroupID
	}
	p.image, p.variants = img, nil
}
