package sink

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == embedded.ChildArg {
		os.Exit(embedded.ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// startClickHouse starts a real server, and returns it with a store that reaches it through a gate.
func startClickHouse(t testing.TB) (*embedded.Server, *clickhouse.Store, *gate) {
	t.Helper()
	return startClickHouseIn(t, t.TempDir())
}

func startClickHouseIn(t testing.TB, dir string) (*embedded.Server, *clickhouse.Store, *gate) {
	t.Helper()
	srv := chtest.Server(t, dir)
	u, err := url.Parse(srv.DSN())
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.addr()
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(u.String())
	store, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return srv, store, g
}

// gate passes TCP connections on to a server while it is open. Shutting it cuts them where they are.
type gate struct {
	l  net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

func newGate(t testing.TB, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, to: to, conns: map[net.Conn]struct{}{}}
	g.wg.Go(g.accept)
	t.Cleanup(func() {
		_ = l.Close()
		g.set(false)
		g.wg.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.l.Addr().String() }

// set opens or shuts the gate.
func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = !open
	if !open {
		for c := range g.conns {
			_ = c.Close()
		}
	}
}

// keep notes a connection, unless the gate is shut.
func (g *gate) keep(c net.Conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return errors.Join(errors.New("shut"), c.Close())
	}
	g.conns[c] = struct{}{}
	return nil
}

func (g *gate) drop(c net.Conn) {
	_ = c.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

func (g *gate) accept() {
	for {
		in, err := g.l.Accept()
		if err != nil {
			return
		}
		g.wg.Go(func() { g.pass(in) })
	}
}

func (g *gate) pass(in net.Conn) {
	if g.keep(in) != nil {
		return
	}
	defer g.drop(in)
	out, err := net.Dial("tcp", g.to)
	if err != nil || g.keep(out) != nil {
		return
	}
	defer g.drop(out)
	g.wg.Go(func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	})
	_, _ = io.Copy(in, out)
}
