// Package vm runs programs on Debian's cloud kernel in QEMU, without KVM: for tests and
// measurements on a kernel that allows trampolines. It needs qemu-system-x86, cpio,
// busybox-static and apt-get, which `make deps` installs; the kernel is fetched once.
package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrTool is wrapped when a program that this package runs is missing.
var ErrTool = errors.New("program is missing: run sudo make deps")

// Guest is what runs in a machine.
type Guest struct {
	// Files are copied to these paths from those of the host, with their modes.
	Files map[string]string
	// Text is written to these paths.
	Text map[string]string
	// Script is run by busybox's shell as the first process; the machine ends with it.
	Script string
	// CPUs is how many; 0 means one: with two, emulated on a busy machine, one was seen to wait for the other for ever.
	CPUs int
	// Count makes the machine's time a count of instructions: a nanosecond each.
	Count bool
}

// end is printed when the script came to its end.
const end = "GYRE-VM-END"

const prologue = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmpfs /tmp
ip link set lo up
export HOME=/tmp PATH=/bin
`

// Run boots a machine and returns what it wrote on its console.
func (g Guest) Run(ctx context.Context) (string, error) {
	for _, tool := range []string{"qemu-system-x86_64", "cpio", "busybox", "dpkg", "apt-get"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s: %w", tool, ErrTool)
		}
	}
	kernel, err := Kernel(ctx)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "gyre-vm-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	initrd, err := g.pack(ctx, dir)
	if err != nil {
		return "", err
	}
	cpus := g.CPUs
	if cpus == 0 {
		cpus = 1
	}
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-m", "1536", "-smp", strconv.Itoa(cpus), "-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet loglevel=3 watchdog_thresh=60 softlockup_panic=1",
	}
	if g.Count {
		args = append(args, "-icount", "shift=0,sleep=off")
	}
	var console bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.Stdout, cmd.Stderr = &console, &console
	err = cmd.Run()
	out := strings.ReplaceAll(console.String(), "\r", "")
	if err == nil && !strings.Contains(out, end) {
		err = errors.New("it ended early")
	}
	if err != nil {
		return out, fmt.Errorf("run a virtual machine: %w", err)
	}
	return out, nil
}

// pack makes the initial RAM disk.
func (g Guest) pack(ctx context.Context, dir string) (string, error) {
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc", "root"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return "", err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	files := map[string]string{"bin/busybox": busybox}
	maps.Copy(files, g.Files)
	for to, from := range files {
		data, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(root, to), data, 0o755); err != nil {
			return "", err
		}
	}
	text := map[string]string{"init": prologue + g.Script + "\necho " + end + "\npoweroff -f\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n"}
	maps.Copy(text, g.Text)
	for to, s := range text {
		if err := os.WriteFile(filepath.Join(root, to), []byte(s), 0o755); err != nil {
			return "", err
		}
	}
	for _, applet := range []string{"sh", "cat", "sleep", "mount", "uname", "ip", "poweroff", "echo"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			return "", err
		}
	}
	out := filepath.Join(dir, "initrd")
	cmd := exec.CommandContext(ctx, "sh", "-c", `find . | cpio --quiet -o -H newc > "$0"`, out)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pack initial RAM disk: %w: %s", err, b)
	}
	return out, nil
}

var kernelPackage = regexp.MustCompile(`linux-image-[0-9][^ \n]*-cloud-amd64`)

// Kernel fetches the newest cloud kernel of the host's Debian with apt-get, without installing it, and returns the image. It
// is kept in GYRE_CACHE_DIR, or /var/cache/gyre.
func Kernel(ctx context.Context) (string, error) {
	cache := os.Getenv("GYRE_CACHE_DIR")
	if cache == "" {
		cache = "/var/cache/gyre"
	}
	dir := filepath.Join(cache, "kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if k := newest(dir); k != "" {
		return k, nil
	}
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("fetch a kernel: %s %v: %w: %s", name, args, err, out)
		}
		return string(out), nil
	}
	pkg := ""
	for _, update := range []bool{false, true} {
		if update {
			if _, err := run("apt-get", "update", "-qq"); err != nil {
				return "", err
			}
		}
		out, err := run("apt-cache", "depends", "linux-image-cloud-amd64")
		if err != nil && update {
			return "", err
		}
		if pkg = kernelPackage.FindString(out); pkg != "" {
			break
		}
	}
	if pkg == "" {
		return "", errors.New("fetch a kernel: apt knows no linux-image-cloud-amd64")
	}
	if _, err := run("apt-get", "download", "-qq", pkg); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(dir, pkg+"_*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("fetch a kernel: apt-get download left %v", debs)
	}
	if _, err := run("dpkg", "-x", debs[0], dir); err != nil {
		return "", err
	}
	if err := os.Remove(debs[0]); err != nil {
		return "", err
	}
	if k := newest(dir); k != "" {
		return k, nil
	}
	return "", fmt.Errorf("fetch a kernel: %s holds none", pkg)
}

func newest(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}
