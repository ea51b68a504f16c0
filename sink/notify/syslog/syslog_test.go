package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// receiver reads frames of octet counting and passes on their messages.
func receiver(t *testing.T, l net.Listener) <-chan string {
	t.Helper()
	got := make(chan string, 100)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go func() {
				r := bufio.NewReader(c)
				for {
					n, err := r.ReadString(' ')
					if err != nil {
						return
					}
					size, err := strconv.Atoi(strings.TrimSpace(n))
					if err != nil {
						got <- "bad frame " + n
						return
					}
					b := make([]byte, size)
					if _, err := io.ReadFull(r, b); err != nil {
						return
					}
					got <- string(b)
				}
			}()
		}
	}()
	return got
}

var message = regexp.MustCompile(`^<82>1 2026-05-28T20:26:40\.123456Z node-1 gyre - openat \[gyre@32473 id="[0-9a-f-]{36}" rule="Read sensitive file" priority="critical"\] (.*)$`)

func TestStream(t *testing.T) {
	ca := notifytest.NewCA(t)
	cert, err := tls.LoadX509KeyPair(ca.Issue("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			if network == "tls" {
				l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
			}
			got := receiver(t, l)
			c := Default()
			c.Address, c.Network, c.CAFile = addr, network, ca.File
			n := notifytest.Open(t, c, notifytest.Env(t.Output()))
			m := notifytest.Message()
			for range 2 {
				if err := n.Notify(t.Context(), []notify.Message{m, m}); err != nil {
					t.Fatal(err)
				}
			}
			for range 4 {
				s := <-got
				if g := message.FindStringSubmatch(s); g == nil || !strings.HasPrefix(g[1], "\xef\xbb\xbfRead sensitive file: cat \ufffd\\u001b[2J") {
					t.Errorf("got %q", s)
				}
			}
			big := *m.Alert
			big.Output = strings.Repeat("é", 20_000)
			if err := n.Notify(t.Context(), []notify.Message{{Alert: &big}}); err != nil {
				t.Fatal(err)
			}
			if s := <-got; len(s) > 8192 || !strings.HasSuffix(s, "é…") {
				t.Errorf("%d bytes", len(s))
			}
		})
	}
}

func TestUDP(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := Default()
	c.Address, c.Network, c.Format = l.LocalAddr().String(), "udp", "gyre"
	if err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64<<10)
	n, _, err := l.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if g := message.FindSubmatch(b[:n]); g == nil || !strings.HasPrefix(string(g[1]), `{"time":`) {
		t.Errorf("got %q", b[:n])
	}
}

// TestReconnect: a receiver that went away is an error, and one that came back is used.
func TestReconnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Address = l.Addr().String()
	n := notifytest.Open(t, c, notifytest.Env(t.Output()))
	send := func() error { return n.Notify(t.Context(), []notify.Message{notifytest.Message()}) }
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	if err := send(); err != nil {
		t.Fatal(err)
	}
	conn := <-accepted
	if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	for err = send(); err == nil; err = send() { // until the reset has arrived
	}
	if bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if l, err = net.Listen("tcp", c.Address); err != nil {
		t.Fatal(err)
	}
	got := receiver(t, l)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if s := <-got; !message.MatchString(s) {
		t.Errorf("got %q", s)
	}
}

func TestCancel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := Default()
	c.Address, c.MaxBytes = l.Addr().String(), 1<<20
	n := notifytest.Open(t, c, notifytest.Env(t.Output()))
	m := notifytest.Message()
	big := *m.Alert
	big.Output = strings.Repeat("x", 1<<20)
	batch := make([]notify.Message, 50) // more than the kernel's buffers hold
	for i := range batch {
		batch[i].Alert = &big
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.Notify(ctx, batch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	for _, set := range []func(*Config){func(*Config) {}, func(c *Config) { c.Address, c.Network = "h:1", "unix" }, func(c *Config) { c.Address, c.Facility = "h:1", 24 }, func(c *Config) { c.Address, c.MaxBytes = "h:1", 1 }, func(c *Config) { c.Address, c.Format = "h:1", "x" }} {
		c := Default()
		set(c)
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
