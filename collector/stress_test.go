package collector

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// The stress test starts its own program again as a worker that counts what it does.
const stressEnv = "GYRE_TEST_STRESS"

func TestMain(m *testing.M) {
	switch what, arg, _ := strings.Cut(os.Getenv(stressEnv), ":"); what {
	case "open":
		stressOpens(arg)
	case "fork":
		stressForks(arg)
	default:
		os.Exit(m.Run())
	}
}

// stressOpens opens a file so often as "n file" says and prints how often that was.
func stressOpens(arg string) {
	count, name, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(count)
	made := 0
	for ; err == nil && made < n; made++ {
		var f *os.File
		if f, err = os.Open(name); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(strconv.Itoa(made))
}

// stressForks starts a program so often as the argument says, 50 at a time, and prints how many ended.
func stressForks(arg string) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		os.Exit(1)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, room := 0, make(chan struct{}, 50)
	for range n {
		room <- struct{}{}
		wg.Go(func() {
			if exec.Command("/bin/true").Run() == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
			<-room
		})
	}
	wg.Wait()
	os.Stdout.WriteString(strconv.Itoa(made))
}

// TestStress floods the collector from processes that count their own calls: what was made was delivered, or is told as lost.
func TestStress(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short, and this test makes half a million events")
	}
	for name, tt := range map[string]struct {
		ring   daemon.Bytes
		losses bool
	}{"room": {64 * daemon.MiB, false}, "little room": {64 * daemon.KiB, true}} {
		t.Run(name, func(t *testing.T) { stress(t, tt.ring, tt.losses) })
	}
}

const (
	stressProcesses = 20_000
	stressFiles     = 200_000 // by each of two tasks
)

func stress(t *testing.T, ring daemon.Bytes, mustLose bool) {
	b := bustest.New(t)
	cfg := testConfig()
	cfg.RingBuffer, cfg.Spool = ring, 512*daemon.MiB
	cfg.StopTimeout = 60e9
	stop := runLive(t, b, cfg)
	dir := t.TempDir()
	work := map[string]string{"fork": "fork:" + strconv.Itoa(stressProcesses)}
	for _, f := range []string{"one", "two"} {
		name := filepath.Join(dir, f)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		work[name] = "open:" + strconv.Itoa(stressFiles) + " " + name
	}
	var wg sync.WaitGroup
	for what, arg := range work {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), stressEnv+"="+arg)
			out, err := cmd.CombinedOutput()
			if want := arg[strings.IndexByte(arg, ':')+1:]; err != nil || string(out) != strings.SplitN(want, " ", 2)[0] {
				t.Errorf("%s: %v, made %q", what, err, out)
			}
		})
	}
	wg.Wait()
	stop()

	opens, execs, exits := 0, 0, 0
	lost := map[eventv1.Kind]uint64{}
	var seq, holes uint64
	st, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(0)
	for _, s := range st {
		if s.Name == "EVENTS" {
			want = s.Messages
		}
	}
	all := read(t, b, func(c *collected) bool { return uint64(len(c.batches)) == want })
	for _, batch := range all.batches {
		for _, l := range batch.Lost {
			lost[l.Kind] += l.Count
		}
	}
	all.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
		if seq != 0 && e.Seq != seq+1 {
			holes++
		}
		seq = e.Seq
		p := b.Proc(e.Proc)
		switch {
		case p == nil:
		case e.Kind == eventv1.Openat && e.Ret >= 0 && filepath.Dir(b.Text(e.Str(eventv1.OpenName))) == dir && e.Args[eventv1.OpenFlagsArg]&0o100 == 0:
			opens++
		case e.Kind.IsExec() && e.Ret == 0 && b.Text(p.Exe) != "" && filepath.Base(b.Text(p.Exe)) == "true":
			execs++
		case e.Kind == eventv1.ProcExit && b.Text(p.Comm) == "true":
			exits++
		}
	})
	t.Logf("opens %d of %d, execs %d and exits %d of %d, lost %v, %d events in %d batches", opens, 2*stressFiles, execs, exits, stressProcesses, lost, all.count(), len(all.batches))
	if holes > 0 {
		t.Errorf("%d holes in the numbers", holes)
	}
	// Other processes of the machine lose events too, so what is missing is at most what is told.
	for _, x := range []struct {
		kind         eventv1.Kind
		got, of      int
		unknownKinds uint64
	}{{eventv1.Openat, opens, 2 * stressFiles, lost[0]}, {eventv1.Execve, execs, stressProcesses, lost[0]}, {eventv1.ProcExit, exits, stressProcesses, lost[0]}} {
		missing := x.of - x.got
		switch {
		case missing < 0:
			t.Errorf("%d %s events for %d calls", x.got, x.kind, x.of)
		case uint64(missing) > lost[x.kind]+x.unknownKinds:
			t.Errorf("%d of %d calls of %s are missing, %d are told as lost", missing, x.of, x.kind, lost[x.kind])
		case !mustLose && missing > 0 && lost[x.kind] == 0 && lost[0] == 0:
			t.Error(errors.New("lost without a trace"))
		}
	}
	if mustLose && lost[eventv1.Openat] == 0 {
		t.Error("nothing was lost from a ring buffer that cannot hold it: the test proves nothing")
	}
}
