package evaluator

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/bus/indicator"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

// TestIntel evaluates rules about lists that are in the bucket: an address, a domain above the name that the node saw, a
// directory and the sum of a program.
func TestIntel(t *testing.T) {
	b := bustest.New(t)
	kv, err := b.KV(t.Context(), bus.BucketIntel)
	if err != nil {
		t.Fatal(err)
	}
	entries := []string{"/opt/bad/", "203.0.113.0/24", "3031323334353637383961626364656630313233343536373839616263646566", "evil.example"}
	m, chunks, err := intelv1.Pack("feed", "test", entries, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := indicator.Put(t.Context(), kv, m, chunks); err != nil {
		t.Fatal(err)
	}
	rules := "rules:\n"
	for _, f := range []string{"ip", "domain", "path", "hash"} {
		rules += "  - {id: intel-" + f + ", name: " + f + ", condition: 'evt.type == \"connect\" && intel." + f + " == \"feed\"', output: '%intel." + f + "', priority: notice}\n"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Builtin, cfg.Dirs = false, []string{dir}
	start(t, b, cfg)

	x := eventv1.NewBuilder()
	x.Reset(eventv1.Header{Node: "n", BootID: "b", Source: "syscall"})
	row := x.AddProc(eventv1.Proc{
		PID: 7, Parent: -1, Container: -1, User: -1, LoginUser: -1, Exe: x.InternString("/opt/bad/bin/x"), ExeHash: x.InternString("0123456789abcdef0123456789abcdef"),
	})
	x.Add(&eventv1.Event{Kind: eventv1.Connect, Proc: row, Seq: 1, Time: 1, Args: [16]int64{3, 2, 1, 6, int64(x.InternString("\x0a\x00\x00\x05")), 4000, int64(x.InternString("\xcb\x00\x71\x09")), 443}})
	x.Name(func(addr string) string {
		if addr == "\xcb\x00\x71\x09" {
			return "cdn.evil.example"
		}
		return ""
	})
	publish(t, b, "1", append([]byte(nil), x.Encode()...))
	got := map[string]bool{}
	for _, msg := range until(t, b, bus.StreamAlerts, 4) {
		a, err := alertv1.Unmarshal(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		got[a.RuleID] = a.Output == "feed"
	}
	if len(got) != 4 || !got["intel-ip"] || !got["intel-domain"] || !got["intel-path"] || !got["intel-hash"] {
		t.Errorf("alerts %v", got)
	}
}
