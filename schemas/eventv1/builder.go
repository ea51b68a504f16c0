package eventv1

import "github.com/gyre-sec/gyre/schemas/wire"

// Builder collects events into a batch. A collector uses one:
//
//	b.Reset(node, ...)
//	row := b.AddProc(Proc{Exe: b.Intern(exe), ...})
//	b.Add(&Event{Proc: row, ...})
//	payload := b.Encode()
//
// It is not safe for concurrent use.
type Builder struct {
	batch   Batch
	strings map[string]StrID
	events  *wire.Encoder
	enc     *Encoder
	text    int
	rows    int
	seq     uint64
	time    int64
	noted   []bool // by string: it is in the address table
}

// NewBuilder returns a Builder; call [Builder.Reset] before use.
func NewBuilder() *Builder {
	return &Builder{strings: make(map[string]StrID, 1024), events: wire.NewEncoder(), enc: NewEncoder()}
}

// Header is what all events of a batch share; see [Batch] for units.
type Header struct {
	Node, BootID, Source string
	BootTime             int64
}

// Reset starts an empty batch.
func (b *Builder) Reset(h Header) {
	old := &b.batch
	b.batch = Batch{
		Node: h.Node, BootID: h.BootID, Source: h.Source, BootTime: h.BootTime,
		Lost: old.Lost[:0], Strings: append(old.Strings[:0], ""), Procs: old.Procs[:0],
		Containers: old.Containers[:0], Users: old.Users[:0], Labels: old.Labels[:0], Addresses: old.Addresses[:0], Pods: old.Pods[:0],
	}
	clear(b.strings)
	clear(b.noted)
	b.events.Reset()
	b.text, b.rows, b.seq, b.time = 0, 0, 0, 0
}

// Intern returns the index of s, adding it if it is new. It does not keep s, and allocates only for a new string.
func (b *Builder) Intern(s []byte) StrID {
	if len(s) == 0 {
		return 0
	}
	if id, ok := b.strings[string(s)]; ok {
		return id
	}
	return b.add(string(s))
}

// InternString is [Builder.Intern] for a string.
func (b *Builder) InternString(s string) StrID {
	if s == "" {
		return 0
	}
	if id, ok := b.strings[s]; ok {
		return id
	}
	return b.add(s)
}

func (b *Builder) add(s string) StrID {
	id := StrID(len(b.batch.Strings))
	b.batch.Strings = append(b.batch.Strings, s)
	b.strings[s] = id
	b.text += len(s) + 3
	return id
}

// AddProc adds a row and returns its index. The caller adds a parent before its children, or sets Parent later through [Builder.Proc].
func (b *Builder) AddProc(p Proc) int32 {
	b.batch.Procs = append(b.batch.Procs, p)
	b.rows += procSize + 3*(len(p.Args)+len(p.Env))
	return int32(len(b.batch.Procs) - 1)
}

// procSize is about what a process row takes on the wire, in bytes.
const procSize = 150

// Proc returns a row that was added, for change; valid until the next AddProc.
func (b *Builder) Proc(i int32) *Proc { return &b.batch.Procs[i] }

// AddContainer adds a row and returns its index.
func (b *Builder) AddContainer(c Container) int32 {
	b.batch.Containers = append(b.batch.Containers, c)
	b.rows += 64
	return int32(len(b.batch.Containers) - 1)
}

// MentionUser adds a row without a name, for enrichers to fill in, unless there is one of the host's user uid.
func (b *Builder) MentionUser(uid uint32) {
	for i := range b.batch.Users {
		if b.batch.Users[i].UID == uid {
			return
		}
	}
	b.batch.Users = append(b.batch.Users, User{UID: uid, Container: -1})
	b.rows += 8
}

// AddUser adds a row and returns its index.
func (b *Builder) AddUser(u User) int32 {
	b.batch.Users = append(b.batch.Users, u)
	b.rows += 32
	return int32(len(b.batch.Users) - 1)
}

// AddLabel adds a fact of the node.
func (b *Builder) AddLabel(key, value string) {
	b.batch.Labels = append(b.batch.Labels, Label{b.InternString(key), b.InternString(value)})
}

// AddLost notes events that were lost on the node.
func (b *Builder) AddLost(k Kind, n uint64) {
	b.batch.Lost = append(b.batch.Lost, Lost{Kind: k, Count: n})
}

// Add appends an event; of Args only those that the kind has are written. Sequence
// numbers must not decrease. The first event's Seq and Time become those of the batch.
func (b *Builder) Add(e *Event) {
	if b.batch.Count == 0 {
		b.batch.FirstSeq, b.batch.BaseTime = e.Seq, e.Time
		b.seq, b.time = e.Seq, e.Time
	}
	n := int(e.NArgs)
	if n == 0 && e.Kind.Known() {
		n = len(kinds[e.Kind].Args)
	}
	if e.Kind.Known() {
		for _, i := range addressArgs[e.Kind] {
			if int(i) < n && e.Args[i] != 0 {
				b.note(StrID(e.Args[i]))
			}
		}
	}
	e.encode(b.events, n, b.seq, b.time)
	b.seq, b.time = e.Seq, e.Time
	b.batch.Count++
}

// note enters an address into its table.
func (b *Builder) note(id StrID) {
	if n := len(b.batch.Strings); n > len(b.noted) {
		b.noted = append(b.noted, make([]bool, n-len(b.noted))...)
	}
	if int(id) < len(b.noted) && !b.noted[id] {
		b.noted[id] = true
		b.batch.Addresses = append(b.batch.Addresses, NetAddr{Addr: id})
		b.rows += 8
	}
}

// Name gives the addresses of the batch the names that names knows them by; its argument has 4 or 16 bytes.
func (b *Builder) Name(names func(addr string) string) {
	for i := range b.batch.Addresses {
		a := &b.batch.Addresses[i]
		a.Name = b.InternString(names(b.batch.Strings[a.Addr]))
	}
}

// Count is the number of events added.
func (b *Builder) Count() int { return b.batch.Count }

// Empty tells whether there is nothing to send: no event, and no loss to report.
func (b *Builder) Empty() bool { return b.batch.Count == 0 && len(b.batch.Lost) == 0 }

// FirstSeq is the number of the first event added.
func (b *Builder) FirstSeq() uint64 { return b.batch.FirstSeq }

// SetStart gives a batch without events, one that only reports losses, its number and time.
func (b *Builder) SetStart(seq uint64, time int64) {
	if b.batch.Count == 0 {
		b.batch.FirstSeq, b.batch.BaseTime = seq, time
	}
}

// Size is about how many bytes the encoded batch will have.
func (b *Builder) Size() int { return 64 + b.text + b.rows + b.events.Len() }

// Encode returns the wire form; it is valid until the next call.
func (b *Builder) Encode() []byte {
	b.batch.Events = b.events.Data()
	sortAddresses(b.batch.Addresses)
	return b.enc.Encode(&b.batch)
}
