package probe

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// event is what a record decodes to.
type event struct {
	kind  eventv1.Kind
	flags eventv1.EventFlag
	pid   uint32
	ret   int64
	args  map[string]any // int64 or string, by name
}

func decoded(r *bpf.Record) (event, error) {
	rec, err := decode.New().Decode(r.Raw())
	if err != nil {
		return event{}, err
	}
	e := event{kind: rec.Kind, flags: rec.Flags, pid: rec.Task.PID, ret: rec.Ret, args: map[string]any{}}
	for i, a := range rec.Kind.Info().Args {
		if a.Type.IsString() {
			e.args[a.Name] = string(rec.Text[i])
		} else {
			e.args[a.Name] = rec.Args[i]
		}
	}
	return e, nil
}

// find waits for an event of a kind with these arguments, among others.
func (c *capture) event(t *testing.T, kind eventv1.Kind, with map[string]any) event {
	t.Helper()
	var got event
	c.find(t, fmt.Sprintf("%s with %v", kind, with), func(r *bpf.Record) bool {
		if r.Kind != uint16(kind) {
			return false
		}
		e, err := decoded(r)
		if err != nil {
			t.Errorf("decode %s: %v", kind, err)
			return false
		}
		if want, ok := with[byResult]; ok && want != e.ret {
			return false
		}
		for name, v := range with {
			if name != byResult && e.args[name] != v {
				return false
			}
		}
		got = e
		return true
	})
	return got
}

// call is a system call of a test and the event that it must give.
type call struct {
	kind eventv1.Kind
	// do makes the call and returns its result, negative for an errno.
	do func() int64
	// by names the arguments that tell the event from others; all of want must hold.
	by   []string
	want map[string]any
}

// run makes the calls, each on a thread of its own that ends with it, and compares the events.
func (c *capture) run(t *testing.T, flags eventv1.EventFlag, calls []call) {
	t.Helper()
	for _, x := range calls {
		t.Run(x.kind.String(), func(t *testing.T) {
			ret := make(chan int64)
			go func() {
				runtime.LockOSThread() // and never unlocked: what the call changed goes with the thread
				ret <- x.do()
			}()
			got := <-ret
			with := map[string]any{byResult: got} // one that a signal interrupted was made again
			for _, n := range x.by {
				with[n] = x.want[n]
				if v, ok := with[n].(int); ok {
					with[n] = int64(v)
				}
			}
			e := c.event(t, x.kind, with)
			for name, v := range x.want {
				if n, ok := v.(int); ok {
					v = int64(n)
				}
				switch v {
				case fresh:
					v = got
				case fdOrNone:
					v = max(got, -1)
				}
				if diff := cmp.Diff(v, e.args[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if e.ret != got || e.flags&^eventv1.FlagTruncated != flags || e.pid != uint32(os.Getpid()) {
				t.Errorf("ret %d flags %#x pid %d, want %d %#x %d", e.ret, e.flags, e.pid, got, flags, os.Getpid())
			}
			if flags == 0 && got >= 0 && !noFD[x.kind] && e.args["fd"] == got && got > 2 {
				_ = unix.Close(int(got))
			}
		})
	}
}

// byResult is the name of the result among the arguments that tell an event from others.
const byResult = ""

// fresh stands for the call's own result, fdOrNone for that, or -1 if it failed.
const (
	fresh    = "the result"
	fdOrNone = "the result or -1"
)

// noFD are kinds whose result is no descriptor although it may equal the one they were called with.
var noFD = map[eventv1.Kind]bool{eventv1.Write: true, eventv1.Setns: true}

// sys makes a call; the result is negative for an errno.
func sys(nr uintptr, args ...any) int64 {
	var a [6]uintptr
	var keep []*byte
	for i, v := range args {
		switch v := v.(type) {
		case int:
			a[i] = uintptr(v)
		case uintptr:
			a[i] = v
		case string:
			p, err := unix.BytePtrFromString(v)
			if err != nil {
				panic(err)
			}
			keep = append(keep, p)
			a[i] = uintptr(unsafePointer(p))
		case []byte:
			keep = append(keep, &v[0])
			a[i] = uintptr(unsafePointer(&v[0]))
		}
	}
	r, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	runtime.KeepAlive(keep)
	if e != 0 {
		return -int64(e)
	}
	return int64(r)
}
