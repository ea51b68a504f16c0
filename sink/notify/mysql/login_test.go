package mysql

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// greeting is the first packet of a server with these capabilities.
func greeting(caps uint32, saltSize byte) []byte {
	b := append([]byte{packetGreeting}, "11.4.0-MariaDB\x00\x01\x00\x00\x00saltsalt\x00"...)
	b = append(b, byte(caps), byte(caps>>8), 45, 2, 0, byte(caps>>16), byte(caps>>24), saltSize)
	b = append(b, make([]byte, 10)...)
	return append(b, "saltsaltsalt\x00mysql_native_password\x00"...)
}

const plain = withDatabase | protocol41 | secureLogin | pluginLogin

// packet puts a header before a body.
func packet(sequence byte, body []byte) []byte {
	return append([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), sequence}, body...)
}

// hostile serves one connection: each of packets is the answer to what comes in. It returns all that it got.
func hostile(t *testing.T, packets ...[]byte) (addr string, got func() []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var in bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 4096)
		for _, p := range packets {
			if _, err := c.Write(p); err != nil {
				return
			}
			n, err := c.Read(buf)
			in.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return l.Addr().String(), func() []byte { <-ended; return in.Bytes() }
}

// TestHostile: no server gets the password without TLS, and none ends the program.
func TestHostile(t *testing.T) {
	swap := func(plugin, salt string) []byte { return append([]byte{packetSwitch}, plugin+"\x00"+salt...) }
	salt := strings.Repeat("s", 20) + "\x00"
	greet := packet(0, greeting(plain, 21))
	for name, c := range map[string]struct {
		tls     bool
		packets [][]byte
		want    string
	}{
		"clear text":           {false, [][]byte{greet, packet(2, swap("mysql_clear_password", ""))}, "only over TLS"},
		"clear text by sha2":   {false, [][]byte{greet, packet(2, swap("caching_sha2_password", salt)), packet(4, []byte{packetMoreData, 4})}, "only over TLS"},
		"a key of the server":  {false, [][]byte{greet, packet(2, []byte{packetMoreData, 4})}, "only over TLS"},
		"dialog":               {false, [][]byte{greet, packet(2, swap("dialog", salt))}, "only over TLS"},
		"no TLS":               {true, [][]byte{greet}, "offers no TLS"},
		"no salt":              {false, [][]byte{packet(0, greeting(plain, 0))}, "does not greet"},
		"no salt with TLS":     {true, [][]byte{packet(0, greeting(plain|withTLS, 0))}, "does not greet"},
		"no plugins":           {true, [][]byte{packet(0, greeting(protocol41|withTLS|secureLogin, 0))}, "does not greet"},
		"empty":                {false, [][]byte{{0, 0, 0, 0}}, "does not greet"},
		"empty after greeting": {false, [][]byte{greet, {0, 0, 0, 2}}, "does not greet"},
		"short":                {false, [][]byte{packet(0, greeting(plain, 21)[:40])}, "does not greet"},
		"HTTP":                 {false, [][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, "does not greet"},
		"blocked":              {false, [][]byte{packet(0, append([]byte{packetError, 0x69, 0x04}, "Host is blocked"...))}, "1129: Host is blocked"},
		"empty answer":         {false, [][]byte{greet, packet(2, []byte{packetOK, 0, 0, 2, 0, 0, 0}), {0, 0, 0, 1}}, "empty COM_QUERY response"},
		"an unknown packet":    {false, [][]byte{greet, packet(2, []byte{7})}, "unknown packet"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, got := hostile(t, c.packets...)
			s := Default()
			s.Address, s.Database, s.User, s.Password, s.TLS = addr, "gyre", "gyre", daemon.NewSecret(notifytest.Secret), c.tls
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := notifytest.Open(t, s, notifytest.Env(t.Output())).Notify(ctx, []notify.Message{notifytest.Message()})
			if err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if bytes.Contains(got(), []byte(notifytest.Secret)) {
				t.Error("the server has the password")
			}
		})
	}
}

// FuzzLogin: what passes the check of a greeting has all that the client library reads unchecked.
func FuzzLogin(f *testing.F) {
	f.Add(greeting(plain, 21), false)
	f.Add(greeting(plain|withTLS, 21), true)
	f.Add([]byte{packetError, 1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, b []byte, tls bool) {
		p, err := readPacket(bytes.NewReader(packet(0, b)))
		if err != nil {
			return
		}
		_, _ = checkLogin(p[headerSize:])
		if checkGreeting(p[headerSize:], tls) == nil && (b[0] != packetGreeting || len(b) < 45) {
			t.Errorf("%x was taken", b)
		}
	})
}
