package probe

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/collector/probe/vm"
)

// inVM is set in the virtual machine, whose run of these tests must not start another one.
var inVM = os.Getenv("GYRE_TEST_IN_VM") != ""

// guestScript runs the tests under both attach modes and says how that went on the console.
const guestScript = `export GYRE_TEST_IN_VM=1 CI=true
uname -r
for mode in trampoline tracepoint; do
  GYRE_TEST_MODE=$mode /probe.test -test.v -test.timeout 9m
  echo "GYRE-MODE $mode exit $?"
done
`

// TestVM runs the tests of this package on Debian's cloud kernel in QEMU, in trampoline mode, which a locked-down host
// refuses, and in tracepoint mode.
func TestVM(t *testing.T) {
	if inVM {
		return // this is that run
	}
	if testing.Short() {
		t.Skip("SKIPPED: -short, and this test boots a virtual machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	build := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	build("test", "-c", "-o", in("probe.test"), ".")
	build("build", "-o", in("true"), "./testdata/true.go")
	buildCompat(t, in("compat"))
	out, err := vm.Guest{
		Files:  map[string]string{"probe.test": in("probe.test"), "bin/true": in("true"), "bin/compat": in("compat")},
		Text:   map[string]string{"etc/hostname": "vm\n"},
		Script: guestScript,
	}.Run(ctx)
	if errors.Is(err, vm.ErrTool) && os.Getenv("CI") != "true" && os.Geteuid() != 0 {
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, mode := range []string{"trampoline", "tracepoint"} {
		if !strings.Contains(out, "GYRE-MODE "+mode+" exit 0\n") {
			t.Errorf("%s mode failed", mode)
		}
	}
	passed := len(regexp.MustCompile(`(?m)^--- PASS: Test`).FindAllString(out, -1))
	if skips := strings.Count(out, "--- SKIP"); passed < 2*20 || skips > 0 {
		t.Errorf("%d tests passed in two modes, %d skipped: want all, at least 40", passed, skips)
	}
	if t.Failed() {
		t.Logf("console:\n%s", out)
	} else {
		t.Logf("%d tests passed in trampoline and tracepoint mode", passed)
	}
}
