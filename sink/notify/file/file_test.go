package file

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func open(t *testing.T, set func(*Config)) (notify.Notifier, string) {
	t.Helper()
	c := Default()
	c.Path = filepath.Join(t.TempDir(), "alerts [x].log")
	set(c)
	return notifytest.Open(t, c, notifytest.Env(t.Output())), c.Path
}

func lines(t *testing.T, data []byte) int {
	t.Helper()
	n := 0
	for l := range bytes.Lines(data) {
		var v map[string]any
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatalf("%v\n%s", err, l)
		}
		n++
	}
	return n
}

func TestRotation(t *testing.T) {
	n, path := open(t, func(c *Config) { c.MaxSize, c.MaxFiles, c.Compress = 4<<10, 3, true })
	m := notifytest.Message()
	for range 40 {
		if err := n.Notify(t.Context(), []notify.Message{m, m}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 4 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if len(data) > 4<<10 || lines(t, data) == 0 {
			t.Errorf("%s has %d bytes", e.Name(), len(data))
		}
	}
}

// TestHalfLineAndMoved: a half line of a crash is cut off, and a file that logrotate moved is left alone.
func TestHalfLineAndMoved(t *testing.T) {
	n, path := open(t, func(*Config) {})
	if err := os.WriteFile(path, []byte("{}\n{\"half"), 0o600); err != nil {
		t.Fatal(err)
	}
	send := func() {
		t.Helper()
		if err := n.Notify(t.Context(), []notify.Message{notifytest.Message()}); err != nil {
			t.Fatal(err)
		}
	}
	send()
	data, err := os.ReadFile(path)
	if err != nil || lines(t, data) != 2 {
		t.Fatalf("%s %v", data, err)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	send()
	if data, err = os.ReadFile(path); err != nil || lines(t, data) != 1 {
		t.Errorf("%s %v", data, err)
	}
}

func TestLineIsOneLine(t *testing.T) {
	n, path := open(t, func(c *Config) { c.Format = format.Line })
	m := notifytest.Message()
	a := *m.Alert
	a.Output = "one\ntwo\x1b[2J"
	m.Alert = &a
	if err := n.Notify(t.Context(), []notify.Message{m}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || bytes.Count(data, []byte("\n")) != 1 || bytes.ContainsRune(data, 0x1b) {
		t.Errorf("%q %v", data, err)
	}
}

func TestErrors(t *testing.T) {
	n, _ := open(t, func(c *Config) { c.Path = filepath.Join(t.TempDir(), "gone", "a.log") })
	if err := n.Notify(t.Context(), []notify.Message{notifytest.Message()}); err == nil || bus.IsPermanent(err) {
		t.Errorf("no directory: %v", err)
	}
	full := Default()
	full.Path = "/dev/full"
	f := notifytest.Open(t, full, notifytest.Env(t.Output()))
	if err := f.Notify(t.Context(), []notify.Message{notifytest.Message()}); err == nil || bus.IsPermanent(err) {
		t.Errorf("disk full: %v", err)
	}
	for _, c := range []*Config{{Path: "a", MaxSize: 1 << 20, MaxFiles: 1}, {Path: "/a", MaxFiles: 1}, {Path: "/a", MaxSize: 1 << 20}} {
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
