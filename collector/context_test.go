package collector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// TestLiveContext needs privileges and a kernel with BTF. It runs a program that did not exist before, twice, and connects to an
// address that a DNS answer has named: the sum comes with an event of its own, then with the process, and the name with the address.
func TestLiveContext(t *testing.T) {
	cfg := testConfig()
	cfg.ReplaySpeed = 1
	src, err := Open(cfg)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("live capture: %v", err)
		}
		t.Skipf("SKIPPED, NOT TESTED: live capture needs root and a kernel with BTF: %v", err)
	}
	b := bustest.New(t)
	c, err := New(cfg, src, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for c.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	program, sum := ownProgram(t)
	run := func() {
		if out, err := exec.Command(program, "1").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	answerDNS(t)
	run()
	var event, late, named bool
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	go func() { // programs and connections until all was seen
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				_ = exec.Command(program, "0").Run()
				_ = exec.Command("bash", "-c", "echo > /dev/tcp/127.0.0.77/1").Run() // this process itself is not seen
			}
		}
	}()
	defer func() { t.Logf("event %v, in the process %v, name %v", event, late, named) }()
	read(t, b, func(got *collected) bool {
		one := &collected{batches: got.batches[len(got.batches)-1:]}
		one.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
			p := b.Proc(e.Proc)
			switch {
			case p == nil:
			case e.Kind == eventv1.ExeHash && b.Text(e.Str(1)) == program:
				event = b.Text(e.Str(0)) == sum && b.ExeSum(e.Proc) == sum
			case e.Kind == eventv1.Execve && b.Text(p.Exe) == program && e.Ret == 0:
				late = late || b.ExeSum(e.Proc) == sum
			case e.Kind == eventv1.Connect:
				if a := b.Address(e.Str(eventv1.ConnectDAddr)); a != nil && b.Text(a.Addr) == "\x7f\x00\x00\x4d" {
					named = named || b.Text(a.Name) == "shop.example.org"
				}
			}
		})
		return event && late && named
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// ownProgram copies sleep with some bytes behind it, so that its sum is new.
func ownProgram(t *testing.T) (path, sum string) {
	t.Helper()
	from, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, t.Name()+time.Now().String()...)
	path = filepath.Join(t.TempDir(), "own")
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(data)
	return path, hex.EncodeToString(h[:])
}

// answerDNS sends an answer as a server on this host would.
func answerDNS(t *testing.T) {
	t.Helper()
	name := dnsmessage.MustNewName("Shop.example.org.")
	m := dnsmessage.Message{
		Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 77}}}},
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	to, ok := l.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatal("no address")
	}
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 78), Port: 53}, to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Write(msg)
	if err = errors.Join(err, conn.Close()); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Fatal(err)
	}
}
