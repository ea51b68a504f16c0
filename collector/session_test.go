package collector

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector/replay"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

var update = flag.Bool("update", false, "record testdata/session.rec anew on this machine's kernel")

const sessionFile = "testdata/session.rec"

// script is what the recorded session does.
const script = `cd /tmp && mkdir -p gyre-rec && cd gyre-rec
cat /etc/hostname >a; cat /etc/shadow >/dev/null; mv a b; rm b
sh -c 'cat /nowhere; true' 2>/dev/null
cd .. && rmdir gyre-rec`

func recordSession(t *testing.T) {
	cfg := DefaultConfig()
	src, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.(*Live).SetKinds(numbers(cfg.Capture.Selected())); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(sessionFile), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(sessionFile)
	if err != nil {
		t.Fatal(err)
	}
	w, err := replay.NewWriter(file, replay.Meta{Node: "recorded", Mode: src.Mode()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// Only the session itself: a busy machine's other processes would fill the file.
	err = replay.Record(ctx, &only{Source: src, then: func() {
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		time.Sleep(300 * time.Millisecond) // only when recording: the last records are still in the ring buffer
		cancel()
	}}, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_ = src.Close()
}

// TestSession plays the committed recording of a real kernel.
func TestSession(t *testing.T) {
	if *update {
		recordSession(t)
	}
	cfg := testConfig()
	cfg.Source = "recorded:" + sessionFile
	src, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := bustest.New(t)
	run(t, cfg, src, b)
	want := map[string]bool{"open /etc/shadow": true, "exec /etc/shadow": true, "rename": true, "unlink": true, "exit": true, "failed": true}
	got := read(t, b, func(c *collected) bool {
		one := &collected{batches: c.batches[len(c.batches)-1:]}
		one.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
			switch {
			case e.Kind.IsOpen() && b.Text(e.Str(eventv1.OpenName)) == "/etc/shadow" && strings.HasPrefix(lineage(b, e.Proc), "cat sh bash "):
				delete(want, "open /etc/shadow")
			case e.Kind.IsExec() && strings.HasSuffix(b.Cmdline(e.Proc), "cat /etc/shadow"):
				delete(want, "exec /etc/shadow")
			case e.Kind.IsRename() && b.Text(e.Str(eventv1.RenameNewPath)) == "/tmp/gyre-rec/b":
				delete(want, "rename")
			case e.Kind.IsUnlink() && b.Text(e.Str(eventv1.UnlinkName)) == "/tmp/gyre-rec/b":
				delete(want, "unlink")
			case e.Kind == eventv1.ProcExit:
				delete(want, "exit")
			case e.Kind.IsOpen() && e.Failed():
				delete(want, "failed")
			}
		})
		return len(want) == 0
	})
	t.Logf("%d batches, %d events until everything was seen", len(got.batches), got.count())
}
