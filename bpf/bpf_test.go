package bpf

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// needRoot fails in CI, where tests run as root, and skips loudly elsewhere.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test loads eBPF programs and needs root")
	}
	t.Skip("SKIPPED: this test loads eBPF programs and needs root")
}

func TestLoadAndAttach(t *testing.T) {
	needRoot(t)
	for _, mode := range []Mode{Tracepoint, Trampoline} {
		t.Run(string(mode), func(t *testing.T) {
			if mode == Trampoline {
				if err := TryTrampoline(); err != nil {
					t.Logf("this kernel refuses trampolines (%v); the kernel test in a VM covers this mode", err)
					return
				}
			}
			o, err := Load(Options{Mode: mode, RingBufferBytes: 1 << 20})
			if ve, ok := errors.AsType[*ebpf.VerifierError](err); ok {
				t.Fatalf("%+v", ve)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := o.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := o.Attach(); err != nil {
				t.Fatal(err)
			}
			c, err := o.Counters()
			if err != nil {
				t.Fatal(err)
			}
			if c.Sent != [kindRoom]uint64{} {
				t.Errorf("records of kinds that are all off: %v", c.Sent)
			}
		})
	}
}

func TestUnknownMode(t *testing.T) {
	if _, err := Load(Options{Mode: "magic"}); err == nil {
		t.Error("accepted")
	}
}

// TestLayout compares the Go side of the interface with the types that clang compiled.
func TestLayout(t *testing.T) {
	spec, err := loadGyre()
	if err != nil {
		t.Fatal(err)
	}
	var h *btf.Struct
	if err := spec.Types.TypeByName("gyre_header", &h); err != nil {
		t.Fatal(err)
	}
	if h.Size != HeaderSize {
		t.Errorf("struct gyre_header has %d bytes, HeaderSize is %d", h.Size, HeaderSize)
	}
	at := map[string]uint32{
		"kind": 0, "flags": 2, "size": 4, "time": 8, "tgid": 16, "tid": 20, "start": 24, "execs": 32, "uid": 36, "gid": 40, "cpu": 44, "ret": 48, "cgroup": 56, "comm": 64, "nargs": 80, "cap_eff": 88, "cap_perm": 96,
	}
	for _, m := range h.Members {
		if want, ok := at[m.Name]; ok && m.Offset.Bytes() != want {
			t.Errorf("%s is at byte %d, Go reads it at %d", m.Name, m.Offset.Bytes(), want)
		}
		delete(at, m.Name)
	}
	if len(at) != 0 {
		t.Errorf("not in the struct: %v", at)
	}
	for typ, values := range map[string]map[string]uint64{
		"gyre_snapshot": {"GYRE_S_PPID": SnapPPID, "GYRE_S_EXE": SnapExe, "GYRE_S_CGROUP": SnapCgroup, "GYRE_S_CAP_INH": SnapCapInh, "GYRE_S_USERNS": SnapUserNS, "GYRE_S_EXE_FLAGS": SnapExeFlags, "GYRE_S_COUNT": SnapCount},
		"gyre_exe_flag": {"GYRE_X_WRITABLE": ExeWritable, "GYRE_X_KTHREAD": ExeKThread, "GYRE_X_ARGS_CUT": ExeArgsCut},
		"gyre_flag":     {"GYRE_F_SEED": FlagSeed, "GYRE_F_SNAPSHOT": FlagSnapshot, "GYRE_F_TRUNCATED": FlagTruncated},
	} {
		var e *btf.Enum
		if err := spec.Types.TypeByName(typ, &e); err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		have := map[string]uint64{}
		for _, v := range e.Values {
			have[v.Name] = v.Value
		}
		for name, want := range values {
			if got, ok := have[name]; !ok || got != want {
				t.Errorf("%s is %d in C, %d in Go", name, got, want)
			}
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(make([]byte, HeaderSize))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		r, err := ParseRecord(raw)
		if err != nil {
			return
		}
		for i := range int(min(r.NArgs, 100)) {
			r.Int(i)
			r.Bytes(i)
		}
	})
}
