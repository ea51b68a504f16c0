package collector

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// containerID is one as Docker makes them; the runtime puts the container into /docker/<id>.
const containerID = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"

// containerScript puts a program into the container's own layer and runs it.
const containerScript = `mkdir /new && cp /bin/busybox /new/busybox && cd /new && ./busybox cat ../etc/marker; true`

// bundle makes an OCI bundle: a root file system of busybox, as an overlay, and the specification.
func bundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(unix.Mount("gyre", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for _, d := range []string{"lower/bin", "lower/etc", "lower/proc", "lower/dev", "lower/sys", "upper", "work", "rootfs"} {
		check(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	busybox, err := os.ReadFile(tool(t, "busybox"))
	check(err)
	check(os.WriteFile(filepath.Join(dir, "lower/bin/busybox"), busybox, 0o755))
	check(os.WriteFile(filepath.Join(dir, "lower/etc/marker"), []byte("seen\n"), 0o644))
	for _, applet := range []string{"sh", "mkdir", "cp"} {
		check(os.Symlink("busybox", filepath.Join(dir, "lower/bin", applet)))
	}
	in := func(s string) string { return filepath.Join(dir, s) }
	check(unix.Mount("overlay", in("rootfs"), "overlay", 0, "lowerdir="+in("lower")+",upperdir="+in("upper")+",workdir="+in("work")))
	t.Cleanup(func() { _ = unix.Unmount(in("rootfs"), unix.MNT_DETACH) })

	spec := exec.Command(tool(t, "runc"), "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v\n%s", err, out)
	}
	var config map[string]any
	raw, err := os.ReadFile(in("config.json"))
	check(err)
	check(json.Unmarshal(raw, &config))
	process := config["process"].(map[string]any)
	process["terminal"], process["args"], process["env"] = false, []string{"/bin/sh", "-c", containerScript}, []string{"PATH=/bin"}
	config["root"] = map[string]any{"path": "rootfs", "readonly": false}
	config["linux"].(map[string]any)["cgroupsPath"] = "/docker/" + containerID
	raw, err = json.Marshal(config)
	check(err)
	check(os.WriteFile(in("config.json"), raw, 0o600))
	return dir
}

// tool finds a program that make deps installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			return filepath.Join(dir, name)
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: run sudo make deps", name)
	}
	t.Skipf("SKIPPED, NOT TESTED: %s is missing: run sudo make deps", name)
	return ""
}

// TestContainer runs a container with runc and looks at what is told of it.
func TestContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test runs a container and needs root")
		}
		t.Skip("SKIPPED, NOT TESTED: running a container needs root")
	}
	dir, runc := bundle(t), tool(t, "runc")
	b := bustest.New(t)
	stop := runLive(t, b, testConfig())
	run := exec.Command(runc, "--root", filepath.Join(dir, "state"), "run", "--bundle", dir, containerID)
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if err := run.Run(); err != nil || !strings.Contains(out.String(), "seen") {
		t.Fatalf("run a container: %v\n%s", err, out.String())
	}
	var opened, executed bool
	read(t, b, func(got *collected) bool {
		one := &collected{batches: got.batches[len(got.batches)-1:]}
		one.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
			p := b.Proc(e.Proc)
			if p == nil || b.Text(p.Exe) != "/new/busybox" {
				return
			}
			c := b.Container(p.Container)
			if c == nil || b.Text(c.ID) != containerID || b.Text(c.Runtime) != "docker" {
				t.Errorf("container %+v of group %s", c, b.Text(p.Cgroup))
				return
			}
			if p.VPID == p.PID || p.VPID == 0 || p.VPID > 100 {
				t.Errorf("process %d is %d in its namespace", p.PID, p.VPID)
			}
			shell := b.Proc(p.Parent)
			switch {
			case e.Kind.IsExec() && e.Ret == 0:
				executed = true
				if p.Flags&eventv1.ProcExeUpperLayer == 0 || shell == nil || b.Text(shell.Exe) != "/bin/busybox" || shell.Flags&eventv1.ProcExeUpperLayer != 0 {
					t.Errorf("flags of the new program %#x, of the shell %+v", p.Flags, shell)
				}
				if b.Text(p.Cwd) != "/new" || b.Text(e.Str(eventv1.ExecFilename)) != "/new/busybox" {
					t.Errorf("working directory %q, program %q", b.Text(p.Cwd), b.Text(e.Str(eventv1.ExecFilename)))
				}
				if own := namespaceOf(t, "mnt"); p.MntNS == own || p.PidNS == namespaceOf(t, "pid") {
					t.Errorf("namespaces of the host: mount %d, pid %d", p.MntNS, p.PidNS)
				}
			case e.Kind.IsOpen() && e.Ret >= 0 && b.Text(e.Str(eventv1.OpenName)) == "/etc/marker":
				opened = true
			}
		})
		return opened && executed
	})
	stop()
}

func namespaceOf(t *testing.T, name string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/"+name, &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}
