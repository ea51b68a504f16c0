package probe

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// inVM is set in the virtual machine, whose run of these tests must not start another one.
var inVM = os.Getenv("GYRE_TEST_IN_VM") != ""

// initScript runs the tests under both attach modes and says how that went on the serial console.
const initScript = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmpfs /tmp
ip link set lo up
export GYRE_TEST_IN_VM=1 CI=true HOME=/tmp PATH=/bin
uname -r
for mode in trampoline tracepoint; do
  GYRE_TEST_MODE=$mode /probe.test -test.v -test.timeout 5m
  echo "GYRE-MODE $mode exit $?"
done
echo GYRE-END
poweroff -f
`

// TestVM runs the tests of this package on Debian's cloud kernel in QEMU, without KVM, in
// trampoline mode, which a locked-down host refuses, and in tracepoint mode.
func TestVM(t *testing.T) {
	if inVM {
		return // this is that run
	}
	if testing.Short() {
		t.Skip("SKIPPED: -short, and this test boots a virtual machine")
	}
	for _, tool := range []string{"qemu-system-x86_64", "cpio", "busybox", "dpkg", "apt-get"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" || os.Geteuid() == 0 {
				t.Fatalf("%s is missing: run make deps", tool)
			}
			t.Skipf("SKIPPED: %s is missing: run sudo make deps", tool)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	kernel := debianKernel(t, ctx)
	initrd := initramfs(t, ctx)
	var console bytes.Buffer
	vm := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2", "-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet loglevel=3")
	vm.Stdout, vm.Stderr = &console, &console
	err := vm.Run()
	out := strings.ReplaceAll(console.String(), "\r", "")
	if err != nil || !strings.Contains(out, "GYRE-END") {
		t.Fatalf("the virtual machine did not finish: %v\n%s", err, out)
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
		t.Logf("kernel %s: %d tests passed in trampoline and tracepoint mode", filepath.Base(kernel), passed)
	}
}

// debianKernel fetches the newest cloud kernel of the host's Debian with apt-get, without installing it, and returns the image.
func debianKernel(t *testing.T, ctx context.Context) string {
	t.Helper()
	cache := os.Getenv("GYRE_CACHE_DIR")
	if cache == "" {
		cache = "/var/cache/gyre"
	}
	dir := filepath.Join(cache, "kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	find := func() string {
		found, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
		if err != nil || len(found) == 0 {
			return ""
		}
		return found[len(found)-1]
	}
	if k := find(); k != "" {
		return k
	}
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	pkg := regexp.MustCompile(`linux-image-[0-9][^ \n]*-cloud-amd64`).FindString(run("apt-cache", "depends", "linux-image-cloud-amd64"))
	if pkg == "" {
		run("apt-get", "update", "-qq")
		if pkg = regexp.MustCompile(`linux-image-[0-9][^ \n]*-cloud-amd64`).FindString(run("apt-cache", "depends", "linux-image-cloud-amd64")); pkg == "" {
			t.Fatal("apt knows no linux-image-cloud-amd64")
		}
	}
	run("apt-get", "download", "-qq", pkg)
	debs, err := filepath.Glob(filepath.Join(dir, pkg+"_*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("apt-get download left %v, %v", debs, err)
	}
	run("dpkg", "-x", debs[0], dir)
	if err := os.Remove(debs[0]); err != nil {
		t.Fatal(err)
	}
	k := find()
	if k == "" {
		t.Fatalf("%s holds no kernel", pkg)
	}
	return k
}

// initramfs packs busybox, this package's tests and the script that runs them.
func initramfs(t *testing.T, ctx context.Context) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", filepath.Join(dir, "probe.test"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tests: %v\n%s", err, out)
	}
	truth := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "bin", "true"), "./testdata/true.go")
	truth.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := truth.CombinedOutput(); err != nil {
		t.Fatalf("build true: %v\n%s", err, out)
	}
	buildCompat(t, filepath.Join(dir, "bin", "compat"))
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	bin, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]struct {
		data []byte
		mode fs.FileMode
	}{"bin/busybox": {bin, 0o755}, "init": {[]byte(initScript), 0o755}, "etc/hostname": {[]byte("vm\n"), 0o644}, "etc/passwd": {[]byte("root:x:0:0::/root:/bin/sh\n"), 0o644}}
	for name, f := range files {
		if err := os.WriteFile(filepath.Join(dir, name), f.data, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, applet := range []string{"sh", "cat", "sleep", "mount", "uname", "ip", "poweroff"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "initrd")
	pack := exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf("find . | cpio --quiet -o -H newc > %s", out))
	pack.Dir = dir
	if b, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("pack initramfs: %v\n%s", err, b)
	}
	return out
}
