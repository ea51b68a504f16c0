package dnsname

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/dns/dnsmessage"
)

func message(t testing.TB, asked string, edit func(*dnsmessage.Message)) []byte {
	t.Helper()
	name, alias := dnsmessage.MustNewName(asked), dnsmessage.MustNewName("cdn.example.net.")
	head := func(n dnsmessage.Name, typ dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Type: typ, Class: dnsmessage.ClassINET, TTL: 60}
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			{Header: head(name, dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: alias}},
			{Header: head(alias, dnsmessage.TypeA), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}},
			{Header: head(alias, dnsmessage.TypeAAAA), Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 9}}},
		},
	}
	if edit != nil {
		edit(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ipv4(payload []byte) []byte {
	p := make([]byte, 28, 28+len(payload))
	p[0], p[9] = 0x45, 17
	return append(p, payload...)
}

func TestAnswers(t *testing.T) {
	x := New(DefaultConfig(), prometheus.NewRegistry())
	x.packet(ipv4(message(t, "WWW.Example.org.", nil)))
	for addr, want := range map[string]string{
		"\xc0\x00\x02\x07": "www.example.org", mapped + "\xc0\x00\x02\x07": "www.example.org", "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09": "www.example.org", "\xc0\x00\x02\x08": "", "": "",
	} {
		if got := x.Name(addr); got != want {
			t.Errorf("%x: %q, want %q", addr, got, want)
		}
	}
	x.packet(ipv4(message(t, "other.example.org.", nil))) // the last one counts
	if got := x.Name("\xc0\x00\x02\x07"); got != "other.example.org" {
		t.Errorf("got %q", got)
	}
	x.packet(ipv4(message(t, "no.example.org.", func(m *dnsmessage.Message) { m.Response = false })))
	x.packet(ipv4(message(t, "no.example.org.", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError })))
	x.packet(ipv4(message(t, "a b.example.org.", nil)))
	x.packet(ipv4([]byte("garbage")))
	x.packet([]byte{0x45})
	x.packet(nil)
	for result, n := range map[string]float64{"learned": 2, "empty": 3, "malformed": 3} {
		if got := testutil.ToFloat64(x.answers.WithLabelValues(result)); got != n {
			t.Errorf("%v answers %s, want %v", got, result, n)
		}
	}
}

func TestBound(t *testing.T) {
	x := New(Config{Names: 16}, prometheus.NewRegistry())
	for i := range 100 {
		x.learn(string([]byte{10, 0, 0, byte(i)}), fmt.Sprint(i))
	}
	if len(x.byAddr) != 16 || x.order.Len() != 16 || x.Name("\x0a\x00\x00\x63") != "99" || x.Name("\x0a\x00\x00\x00") != "" {
		t.Errorf("%d names", len(x.byAddr))
	}
}

// TestSocket answers a question on the loopback interface from port 53, as a server on this host would.
func TestSocket(t *testing.T) {
	x := New(DefaultConfig(), prometheus.NewRegistry())
	if err := x.Open(); err != nil {
		skip(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	send := func(from, to string, msg []byte) {
		t.Helper()
		f, err := net.ResolveUDPAddr("udp", from)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenPacket("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.DialUDP("udp", f, l.LocalAddr().(*net.UDPAddr))
		if err != nil {
			skip(t, err)
		}
		defer c.Close()
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
	}
	send("127.0.0.77:5353", "127.0.0.1:0", message(t, "wrong.example.org.", nil))
	send("127.0.0.77:53", "127.0.0.1:0", message(t, "right.example.org.", nil))
	for end := time.Now().Add(20 * time.Second); x.Name("\xc0\x00\x02\x07") == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the answer was not seen")
		}
	}
	if got := x.Name("\xc0\x00\x02\x07"); got != "right.example.org" {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func skip(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
		t.Fatal(err)
	}
	t.Skipf("SKIPPED, NOT TESTED: needs CAP_NET_RAW and port 53 of a loopback address: %v", err)
}

func FuzzPacket(f *testing.F) {
	f.Add(ipv4([]byte{0, 1, 0x81, 0x80, 0, 1, 0, 1}))
	x := New(Config{Names: 16}, prometheus.NewRegistry())
	f.Fuzz(func(_ *testing.T, p []byte) { x.packet(p) })
}
