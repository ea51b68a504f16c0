package program

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func run(t *testing.T, ctx context.Context, script string) (string, error) { //nolint:revive // the test first, as elsewhere
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	c := Default()
	c.Command = []string{"/bin/sh", "-c", script, out}
	m := notifytest.Message()
	err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(ctx, []notify.Message{m, m})
	data, _ := os.ReadFile(out)
	return string(data), err
}

func TestProgram(t *testing.T) {
	got, err := run(t, t.Context(), `cat > "$0"`)
	if err != nil || strings.Count(got, "\n") != 2 || !strings.Contains(got, `"rule_id":"read-shadow"`) {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err = run(t, t.Context(), `echo broken >&2; exit 3`); err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), "exit status 3: broken") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = run(t, ctx, `sleep 60`); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if (&Config{Command: []string{"sh"}}).Validate() == nil {
		t.Error("a relative path was accepted")
	}
}
