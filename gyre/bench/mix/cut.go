package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// perBatch is how many events the batches of the recording have, as those of a busy collector.
const perBatch = 256

// cutter collects batches and makes others of them that hold the work alone.
type cutter struct {
	mu      sync.Mutex
	batches [][]byte
	exited  map[uint32]bool
	dec     *eventv1.Decoder
	kinds   [eventv1.KindCount]int

	b    *eventv1.Builder
	in   eventv1.Batch
	rows map[string]int32 // in the batch that is made, by exec id
	user map[uint32]string
	out  bytes.Buffer
	n    int
	seq  uint64
	root uint32
}

func newCutter() *cutter {
	return &cutter{exited: map[uint32]bool{}, dec: eventv1.NewDecoder(), b: eventv1.NewBuilder()}
}

// take keeps a batch and notes which processes ended.
func (c *cutter) take(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches = append(c.batches, bytes.Clone(data))
	if err := c.dec.Decode(data, &c.in); err != nil {
		return err
	}
	r := eventv1.NewReader()
	r.Reset(&c.in)
	for e := (eventv1.Event{}); r.Next(&e); {
		if p := c.in.Proc(e.Proc); p != nil && e.Kind == eventv1.ProcExit && p.PID == e.TID {
			c.exited[p.PID] = true
		}
	}
	return r.Err()
}

func (c *cutter) ended(pid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exited[pid]
}

// ours tells whether a process is the work or below it.
func (c *cutter) ours(row int32) bool {
	for p := c.in.Proc(row); p != nil; p = c.in.Proc(p.Parent) {
		if p.PID == c.root {
			return true
		}
	}
	return false
}

// write makes the recording: a compressed file of batches, each behind its length as a uvarint.
func (c *cutter) write(file string, root uint32) (events, size int, err error) {
	c.root = root
	c.start()
	r := eventv1.NewReader()
	for _, data := range c.batches {
		if err := c.dec.Decode(data, &c.in); err != nil {
			return 0, 0, err
		}
		r.Reset(&c.in)
		for e := (eventv1.Event{}); r.Next(&e); {
			if c.ours(e.Proc) {
				c.event(e)
			}
			if c.b.Count() == perBatch {
				if err := c.flush(); err != nil {
					return 0, 0, err
				}
			}
		}
		if r.Err() != nil {
			return 0, 0, r.Err()
		}
		for _, l := range c.in.Lost {
			return 0, 0, fmt.Errorf("%d %s events were lost: record again", l.Count, l.Kind)
		}
	}
	if err := c.flush(); err != nil {
		return 0, 0, err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	if _, err = z.Write(c.out.Bytes()); err == nil {
		err = z.Close()
	}
	if err != nil {
		return 0, 0, err
	}
	return c.n, packed.Len(), os.WriteFile(file, packed.Bytes(), 0o644)
}

func (c *cutter) start() {
	c.b.Reset(eventv1.Header{Node: "mix", BootID: "00000000-0000-4000-8000-000000000000", Source: "syscall", BootTime: 1_780_000_000_000_000_000})
	c.rows, c.user = map[string]int32{}, map[uint32]string{}
}

func (c *cutter) text(id eventv1.StrID) eventv1.StrID { return c.b.InternString(c.in.Text(id)) }

func (c *cutter) texts(list []eventv1.StrID) []eventv1.StrID {
	out := make([]eventv1.StrID, len(list))
	for i, id := range list {
		out[i] = c.text(id)
	}
	return out
}

// event copies an event with all that it names.
func (c *cutter) event(e eventv1.Event) {
	e.Proc = c.proc(e.Proc)
	for i, a := range e.Kind.Info().Args[:e.NArgs] {
		if a.Type.IsString() {
			e.Args[i] = int64(c.text(e.Str(i)))
		}
	}
	if e.Kind.IsClone() {
		e.Args[eventv1.CloneChildProc] = int64(c.proc(int32(e.Args[eventv1.CloneChildProc])))
	}
	c.seq++
	e.Seq = c.seq
	e.Time += 1_780_000_000_000_000_000 - c.in.BootTime
	c.b.Add(&e)
	c.kinds[e.Kind]++
	c.n++
}

// proc copies a process with its ancestors up to the root of the work, which gets a login for its parent.
func (c *cutter) proc(row int32) int32 {
	p := c.in.Proc(row)
	if p == nil {
		return -1
	}
	key := c.in.ExecID(p)
	if at, ok := c.rows[key]; ok {
		return at
	}
	q := *p
	if p.PID == c.root {
		q.Parent = c.login()
		q.PPID = 700
	} else {
		q.Parent = c.proc(p.Parent)
	}
	q.Exe, q.Comm, q.Cwd, q.TTY, q.Group, q.Cgroup = c.text(p.Exe), c.text(p.Comm), c.text(p.Cwd), c.text(p.TTY), c.text(p.Group), c.b.InternString("/user.slice/session-1.scope")
	q.Args, q.Env, q.Container = c.texts(p.Args), c.texts(p.Env), -1
	if u := c.in.User(p.User); u != nil {
		c.user[p.UID] = c.in.Text(u.Name)
		c.b.InternString(c.in.Text(u.Name))
	}
	q.User, q.LoginUser = -1, -1
	at := c.b.AddProc(q)
	c.rows[key] = at
	return at
}

// login are the processes that the work seems to come from.
func (c *cutter) login() int32 {
	parent := int32(-1)
	for i, x := range []struct {
		exe, comm string
		args      []string
	}{{"/usr/lib/systemd/systemd", "systemd", []string{"/sbin/init"}}, {"/usr/sbin/sshd", "sshd", []string{"sshd: /usr/sbin/sshd -D"}}, {"/usr/sbin/sshd", "sshd", []string{"sshd: root@pts/0"}}, {"/usr/bin/bash", "bash", []string{"-bash"}}} {
		key := fmt.Sprint("login", i)
		at, ok := c.rows[key]
		if !ok {
			p := eventv1.Proc{
				PID: []uint32{1, 400, 690, 700}[i], ExecCount: 1, Parent: parent, Start: int64(i+1) * 1e9, Exe: c.b.InternString(x.exe), Comm: c.b.InternString(x.comm), Cwd: c.b.InternString("/"),
				Container: -1, User: -1, LoginUser: -1, LoginUID: eventv1.NoUID,
			}
			for _, a := range x.args {
				p.Args = append(p.Args, c.b.InternString(a))
			}
			at = c.b.AddProc(p)
			c.rows[key] = at
		}
		parent = at
	}
	return parent
}

// flush ends a batch: the users are added as enrichment does, which the builder cannot.
func (c *cutter) flush() error {
	if c.b.Count() == 0 {
		return nil
	}
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(c.b.Encode(), &b); err != nil {
		return err
	}
	find := func(s string) eventv1.StrID {
		for i, x := range b.Strings {
			if x == s {
				return eventv1.StrID(i)
			}
		}
		b.Strings = append(b.Strings, s)
		return eventv1.StrID(len(b.Strings) - 1)
	}
	at := map[uint32]int32{}
	for i := range b.Procs {
		p := &b.Procs[i]
		name, ok := c.user[p.UID]
		if !ok {
			continue
		}
		if _, there := at[p.UID]; !there {
			at[p.UID] = int32(len(b.Users))
			b.Users = append(b.Users, eventv1.User{UID: p.UID, Container: -1, Name: find(name)})
		}
		p.User = at[p.UID]
	}
	data := eventv1.NewEncoder().Encode(&b)
	c.out.Write(binary.AppendUvarint(nil, uint64(len(data))))
	c.out.Write(data)
	c.start()
	return nil
}
