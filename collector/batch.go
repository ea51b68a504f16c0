package collector

import (
	"slices"
	"strconv"

	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/collector/spool"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// batcher puts events into batches, each with the rows that its events need.
//
// Sequence numbers have no holes within a run. A run starts at the nanoseconds since
// boot: no run of the same boot can make as many events as nanoseconds pass, so the
// next run starts above the last number of this one, and (node, boot, seq) stays
// unique without anything being stored on disk.
type batcher struct {
	b          *eventv1.Builder
	header     eventv1.Header
	gen        uint64
	seq        uint64 // of the next event
	opened     int64  // time of the first event, since boot
	containers map[string]int32
	lineage    []*proctable.Image
	ev         eventv1.Event
	lost       [eventv1.KindCount]uint64 // not reported yet
	anyLost    bool
	reports    uint64
	maxEvents  int
	maxBytes   int
	maxDelay   int64
	emit       func(spool.Item, []byte)
	notice     func(container.Ask)           // of a container that a batch names; it does not wait
	sum        func(*proctable.Image) string // of the program file, nil or "" if it is not known
	names      func(addr string) string      // of addresses, nil if nobody knows them
}

func newBatcher(cfg Config, h eventv1.Header, firstSeq uint64, emit func(spool.Item, []byte)) *batcher {
	x := &batcher{
		b: eventv1.NewBuilder(), header: h, seq: firstSeq, containers: map[string]int32{}, emit: emit, notice: func(container.Ask) {},
		maxEvents: cfg.BatchEvents, maxBytes: int(cfg.BatchBytes), maxDelay: int64(cfg.BatchDelay),
	}
	x.reset()
	return x
}

func (x *batcher) reset() {
	x.gen++
	clear(x.containers)
	x.b.Reset(x.header)
}

// lose notes a loss for the next batch.
func (x *batcher) lose(k eventv1.Kind, n uint64) {
	if !k.Known() {
		k = 0
	}
	x.lost[k] += n
	x.anyLost = true
}

// add appends an event of the process whose image is img; child is the image of a new process, or nil.
func (x *batcher) add(r *decode.Record, img, child *proctable.Image) {
	if x.b.Count() > 0 && r.Time-x.opened >= x.maxDelay {
		x.flush()
	}
	e := &x.ev
	e.Kind, e.Flags, e.CPU, e.TID, e.Ret = r.Kind, r.Flags, r.CPU, r.TID, r.Ret
	e.Proc, e.Seq, e.Time = x.row(img), x.seq, x.header.BootTime+r.Time
	e.Args = r.Args
	args := r.Kind.Info().Args
	for i := range args {
		switch {
		case args[i].Type.IsString():
			e.Args[i] = int64(x.b.Intern(r.Text[i]))
		case args[i].Type == eventv1.UID && e.Args[i] >= 0:
			x.b.MentionUser(uint32(e.Args[i]))
		}
	}
	if r.Kind.IsClone() {
		e.Args[eventv1.CloneChildProc] = -1
		if child != nil {
			e.Args[eventv1.CloneChildProc] = int64(x.row(child))
		}
	}
	if x.b.Count() == 0 {
		x.opened = r.Time
	}
	e.NArgs = uint8(len(args))
	x.b.Add(e)
	x.seq++
	if x.b.Count() >= x.maxEvents || x.b.Size() >= x.maxBytes {
		x.flush()
	}
}

// row returns the row of an image, entering it and its ancestors, those first.
func (x *batcher) row(img *proctable.Image) int32 {
	if img == nil {
		return -1
	}
	if row, ok := img.Marked(x.gen); ok {
		return row
	}
	x.lineage = x.lineage[:0]
	parent := int32(-1)
	for a := img; a != nil; a = a.Parent {
		if row, ok := a.Marked(x.gen); ok {
			parent = row
			break
		}
		x.lineage = append(x.lineage, a)
	}
	for _, v := range slices.Backward(x.lineage) {
		parent = x.enter(v, parent)
	}
	return parent
}

func (x *batcher) enter(img *proctable.Image, parent int32) int32 {
	b, p := x.b, img.Row
	p.Parent, p.Container, p.User, p.LoginUser = parent, -1, -1, -1
	p.Exe, p.Comm, p.Cwd = b.InternString(img.Exe), b.InternString(img.Comm), b.InternString(img.Cwd)
	p.TTY, p.Cgroup = b.InternString(img.TTY), b.InternString(img.Cgroup)
	p.Args, p.Env = x.list(img.Args), x.list(img.Env)
	if img.ContainerID != "" {
		c, ok := x.containers[img.ContainerID]
		if !ok {
			c = b.AddContainer(eventv1.Container{ID: b.InternString(img.ContainerID), Runtime: b.InternString(img.Runtime), PodUID: b.InternString(img.PodUID)})
			x.containers[img.ContainerID] = c
			x.notice(container.Ask{ID: img.ContainerID, Runtime: img.Runtime, PodUID: img.PodUID, PID: p.PID})
		}
		p.Container = c
	}
	if x.sum != nil {
		p.ExeHash = b.InternString(x.sum(img))
	}
	row := b.AddProc(p)
	img.Mark(x.gen, row)
	return row
}

func (x *batcher) list(s []string) []eventv1.StrID {
	if len(s) == 0 {
		return nil
	}
	out := make([]eventv1.StrID, len(s))
	for i, v := range s {
		out[i] = x.b.InternString(v)
	}
	return out
}

// exited marks the row of an image whose process ended, if the batch has it.
func (x *batcher) exited(img *proctable.Image) {
	if row, ok := img.Marked(x.gen); ok {
		x.b.Proc(row).Flags |= eventv1.ProcExited
	}
}

// due flushes a batch that has waited long enough at a time since boot.
func (x *batcher) due(now int64) {
	if x.b.Count() > 0 && now-x.opened >= x.maxDelay {
		x.flush()
	}
}

// report sends losses that no batch has taken along, in a batch without events.
func (x *batcher) report(now int64) {
	if x.anyLost && x.b.Count() == 0 {
		x.b.SetStart(x.seq, x.header.BootTime+now)
		x.flush()
	}
}

// flush emits the batch, if there is anything in it.
func (x *batcher) flush() {
	var lost uint64
	if x.anyLost {
		for k, n := range x.lost {
			if n > 0 {
				x.b.AddLost(eventv1.Kind(k), n)
				lost += n
			}
		}
		x.lost, x.anyLost = [eventv1.KindCount]uint64{}, false
	}
	if x.b.Empty() {
		return
	}
	if x.names != nil {
		x.b.Name(x.names)
	}
	x.emit(spool.Item{ID: x.id(), Events: x.b.Count(), First: x.b.FirstSeq(), Lost: lost}, x.b.Encode())
	x.reset()
}

// id names the batch: node/boot/first_seq. A batch without events begins where the next one does, so its id tells it apart:
// otherwise the stream would take the next one for a repetition.
func (x *batcher) id() string {
	buf := make([]byte, 0, len(x.header.Node)+len(x.header.BootID)+40)
	buf = append(append(buf, x.header.Node...), '/')
	buf = append(append(buf, x.header.BootID...), '/')
	buf = strconv.AppendUint(buf, x.b.FirstSeq(), 10)
	if x.b.Count() == 0 {
		x.reports++
		buf = strconv.AppendUint(append(buf, "/lost/"...), x.reports, 10)
	}
	return string(buf)
}
