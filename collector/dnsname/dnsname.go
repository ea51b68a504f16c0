// Package dnsname keeps which domain name an address was resolved from last, from the
// answers of DNS servers that pass the node. It asks nobody: a look-up made later may
// give another name, and tells the attacker's server that somebody looks.
//
// A packet socket with a filter in the kernel sees UDP packets from port 53 on all
// interfaces of its network namespace: those of containers pass there as well. Answers
// over TCP, TLS or HTTPS are not seen. An answer is a claim of whoever sent it.
package dnsname

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/bpf"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Config bounds the table.
type Config struct {
	Enabled bool `yaml:"enabled" doc:"learn the names of addresses from DNS answers, for fd.sip.name and intel.domain; needs CAP_NET_RAW at the start"`
	Names   int  `yaml:"names" doc:"addresses whose names are kept"`
}

// DefaultConfig keeps 16,384 names.
func DefaultConfig() Config { return Config{Enabled: true, Names: 16 << 10} }

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Names < 16 || c.Names > 1<<22 {
		return fmt.Errorf("names is %d, want 16 to %d", c.Names, 1<<22)
	}
	return nil
}

// Table is the names by address. It is safe for concurrent use.
type Table struct {
	cfg     Config
	answers *prometheus.CounterVec
	size    prometheus.Gauge
	file    *os.File

	mu     sync.Mutex
	byAddr map[string]*list.Element
	order  *list.List // of rows, the one learned last in front
}

type row struct{ addr, name string }

// New returns an empty table.
func New(cfg Config, reg prometheus.Registerer) *Table {
	t := &Table{
		cfg: cfg, byAddr: map[string]*list.Element{}, order: list.New(),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_dns_answers_total", Help: "DNS answers that were seen, by what came of them: learned, empty, malformed."}, []string{"result"}),
		size:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_collector_dns_names", Help: "Addresses whose names are kept."}),
	}
	reg.MustRegister(t.answers, t.size)
	return t
}

// Name returns the name of an address of 4 or 16 bytes, "" if none is known.
func (t *Table) Name(addr string) string {
	if len(addr) == 16 && addr[:12] == mapped {
		addr = addr[12:]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byAddr[addr]; ok {
		return e.Value.(*row).name
	}
	return ""
}

// mapped begins an IPv4 address in the form of IPv6.
const mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"

func (t *Table) learn(addr, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byAddr[addr]; ok {
		e.Value.(*row).name = name
		t.order.MoveToFront(e)
		return
	}
	t.byAddr[addr] = t.order.PushFront(&row{addr, name})
	if len(t.byAddr) > t.cfg.Names {
		last := t.order.Back()
		delete(t.byAddr, last.Value.(*row).addr)
		t.order.Remove(last)
	}
	t.size.Set(float64(len(t.byAddr)))
}

// filter lets UDP packets from port 53 through; the packet begins with its network header.
func filter() ([]bpf.RawInstruction, error) {
	const all = 1 << 16
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 12},
		bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 10},
		bpf.LoadAbsolute{Off: 6, Size: 2},                           // fragment
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 8}, // not the first one
		bpf.LoadMemShift{Off: 0},                                    // length of the header
		bpf.LoadIndirect{Off: 0, Size: 2},                           // source port
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 53, SkipTrue: 4, SkipFalse: 5},
		bpf.LoadAbsolute{Off: 6, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 40, Size: 2}, // source port
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 53, SkipTrue: 1},
		bpf.RetConstant{Val: all},
		bpf.RetConstant{Val: 0},
	})
}

// Open opens the socket; it needs CAP_NET_RAW, which may be given up then.
func (t *Table) Open() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // receives nothing yet
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "packet socket")
	prog, err := filter()
	if err == nil {
		raw := make([]unix.SockFilter, len(prog))
		for i, p := range prog {
			raw[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_ALL)})
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open packet socket: %w", err)
	}
	t.file = f
	return nil
}

// swap is htons on machines whose low byte comes first, as all are that we run on.
func swap(v uint16) uint16 { return v<<8 | v>>8 }

// Run reads answers until ctx ends, and closes the socket.
func (t *Table) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = t.file.Close() })()
	defer func() { _ = t.file.Close() }()
	buf := make([]byte, 1<<16)
	for {
		n, err := t.file.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENETDOWN): // of one interface
			continue
		case err != nil:
			return fmt.Errorf("read packets: %w", err)
		}
		t.packet(buf[:n])
	}
}

// packet learns from an IP packet.
func (t *Table) packet(p []byte) {
	msg, ok := payload(p)
	if !ok {
		t.answers.WithLabelValues("malformed").Inc()
		return
	}
	n, err := t.answer(msg)
	switch {
	case err != nil:
		t.answers.WithLabelValues("malformed").Inc()
	case n == 0:
		t.answers.WithLabelValues("empty").Inc()
	default:
		t.answers.WithLabelValues("learned").Inc()
	}
}

// payload returns what a UDP packet holds.
func payload(p []byte) ([]byte, bool) {
	if len(p) < 1 {
		return nil, false
	}
	head := 40
	if p[0]>>4 == 4 {
		head = int(p[0]&15) * 4
	}
	if head < 20 || len(p) < head+8 {
		return nil, false
	}
	return p[head+8:], true
}

// Limits of one answer.
const (
	maxRecords = 64
	maxName    = 253
)

// answer learns the addresses of a DNS message: their name is the one that was asked for, whatever aliases lie between.
func (t *Table) answer(msg []byte) (int, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		return 0, err
	}
	if !h.Response || h.RCode != dnsmessage.RCodeSuccess {
		return 0, nil
	}
	q, err := p.Question()
	if err != nil {
		return 0, err
	}
	if err := p.SkipAllQuestions(); err != nil {
		return 0, err
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return 0, nil
	}
	learned := 0
	for range maxRecords {
		rr, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return learned, err
		}
		switch {
		case rr.Class == dnsmessage.ClassINET && rr.Type == dnsmessage.TypeA:
			r, err := p.AResource()
			if err != nil {
				return learned, err
			}
			t.learn(string(r.A[:]), name)
			learned++
		case rr.Class == dnsmessage.ClassINET && rr.Type == dnsmessage.TypeAAAA:
			r, err := p.AAAAResource()
			if err != nil {
				return learned, err
			}
			t.learn(string(r.AAAA[:]), name)
			learned++
		default:
			if err := p.SkipAnswer(); err != nil {
				return learned, err
			}
		}
	}
	return learned, nil
}
