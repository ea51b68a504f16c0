package evaluator

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// recording reads the batches of testdata/mix.batches.gz: a build, package management, logins, a web server and work in
// a shell on a real machine. `go run ./gyre/bench/mix` makes it.
func recording(t testing.TB) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "mix.batches.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for r := bytes.NewReader(data); r.Len() > 0; {
		n, err := binary.ReadUvarint(r)
		if err != nil || n > uint64(r.Len()) {
			t.Fatalf("the recording is damaged: %v", err)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// official reads Falco's stable and incubating rules, which are not part of the repository: they are looked for in
// ../shared/falco/rules beside it. Without them what needs them is skipped, and fails in CI.
func official(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml"} {
		path := filepath.Join("..", "..", "shared", "falco", "rules", name)
		data, err := os.ReadFile(path)
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("Falco's rules are not there: %v", err)
			}
			t.Skipf("SKIPPED, NOTHING IS MEASURED WITH FALCO'S RULES: put falco_rules.yaml and falco-incubating_rules.yaml into shared/falco/rules beside the repository: %v", err)
		}
		all.Write(data)
		all.WriteByte('\n')
	}
	return all.String()
}

var (
	defined  = regexp.MustCompile(`(?m)^- (?:list|macro): (\S+)`)
	word     = regexp.MustCompile(`[A-Za-z0-9_.\-/]+`)
	itemList = regexp.MustCompile(`items: \[([a-z][a-z0-9-]*[,\]])`) // of names, not of other lists, networks or numbers
	ruleName = regexp.MustCompile(`(?m)^- rule: (.*)$`)
)

// times is a Falco file n times, each copy with names and constants of its own.
func times(text string, n int) string {
	names := map[string]bool{}
	for _, m := range defined.FindAllStringSubmatch(text, -1) {
		if _, event := eventv1.ParseKind(m[1]); !event { // such a macro stays one
			names[m[1]] = true
		}
	}
	var all strings.Builder
	all.WriteString(text)
	for i := 1; i < n; i++ {
		copied := word.ReplaceAllStringFunc(text, func(w string) string {
			if names[w] {
				return fmt.Sprintf("%s_c%d", w, i)
			}
			return w
		})
		copied = itemList.ReplaceAllString(copied, fmt.Sprintf("items: [own%d, $1", i))
		copied = ruleName.ReplaceAllString(copied, fmt.Sprintf("- rule: $1 c%d", i))
		for _, item := range strings.Split("\n"+copied, "\n- ")[1:] {
			if !strings.HasPrefix(item, "required_") {
				all.WriteString("- " + item + "\n")
			}
		}
	}
	return all.String()
}

func falcoRules(t testing.TB, text string) []rule.File {
	t.Helper()
	files, _, err := parse([]input{{"falco.yaml", layerDirs, []byte(text)}}, falco.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func shippedRules(t testing.TB) []rule.File {
	t.Helper()
	files, err := rules.Files()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func compiled(t testing.TB, files []rule.File, o ruleset.Options) *ruleset.Set {
	t.Helper()
	o.MaxRules = 20_000
	set, err := ruleset.Compile(files, o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perEvent reports what one event takes of a processor when each op of the benchmark is the whole recording: on average,
// and in the fastest pass, which others that share the machine disturb least.
func perEvent(b *testing.B, events int, f func()) {
	f() // what is made once
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpu(b)
	best, last := time.Duration(math.MaxInt64), start
	for b.Loop() {
		f()
		now := cpu(b)
		best, last = min(best, now-last), now
	}
	used := last - start
	runtime.ReadMemStats(&after)
	n := float64(b.N) * float64(events)
	b.ReportMetric(float64(used)/n, "cpu-ns/event")
	b.ReportMetric(float64(best)/float64(events), "best-ns/event")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/event")
}

type ruleCase struct {
	name  string
	files func() []rule.File
	cel   bool // also by cel-go
}

func ruleCases(b *testing.B) []ruleCase {
	text := official(b)
	falcos := func(n int) func() []rule.File { return func() []rule.File { return falcoRules(b, times(text, n)) } }
	return []ruleCase{
		{"falco-x1", falcos(1), true},
		{"falco-x4", falcos(4), false},
		{"falco-x16", falcos(16), false},
		{"shipped", func() []rule.File { return shippedRules(b) }, true},
	}
}

// decodedBatch is a batch with its events.
type decodedBatch struct {
	batch  eventv1.Batch
	events []eventv1.Event
}

func decoded(t testing.TB, batches [][]byte) (list []*decodedBatch, events int) {
	t.Helper()
	for _, data := range batches {
		d := &decodedBatch{}
		if err := eventv1.NewDecoder().Decode(data, &d.batch); err != nil {
			t.Fatal(err)
		}
		r := eventv1.NewReader()
		r.Reset(&d.batch)
		for e := (eventv1.Event{}); r.Next(&e); {
			d.events = append(d.events, e)
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		list, events = append(list, d), events+len(d.events)
	}
	return list, events
}

// BenchmarkMixEval evaluates the recorded mix, decoded before; cel-go and compiled form a pair.
func BenchmarkMixEval(b *testing.B) {
	list, events := decoded(b, recording(b))
	for _, c := range ruleCases(b) {
		run := func(name string, o ruleset.Options) {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				set := compiled(b, c.files(), o)
				engine, v, hits := set.Engine(), field.NewView(), 0
				emit := func(*ruleset.Rule) { hits++ }
				perEvent(b, events, func() {
					for _, d := range list {
						engine.Batch(v, &d.batch)
						for i := range d.events {
							v.Event(&d.events[i])
							engine.Eval(v, &d.events[i], emit)
						}
					}
				})
				b.ReportMetric(float64(hits)/float64(b.N+1), "hits")
				b.ReportMetric(float64(len(set.Rules())), "rules")
				b.ReportMetric(float64(set.Interpreted()), "interpreted")
			})
		}
		run("compiled", ruleset.Options{})
		if c.cel {
			run("cel-go", ruleset.Options{Interpret: true})
		}
	}
}

// BenchmarkMixWork does all that an evaluator does with the recorded mix between taking a batch and publishing alerts.
func BenchmarkMixWork(b *testing.B) {
	batches := recording(b)
	_, events := decoded(b, batches)
	b.Run("decode-only", func(b *testing.B) {
		dec, r, batch := eventv1.NewDecoder(), eventv1.NewReader(), eventv1.Batch{}
		var e eventv1.Event
		perEvent(b, events, func() {
			for _, data := range batches {
				if err := dec.Decode(data, &batch); err != nil {
					b.Fatal(err)
				}
				for r.Reset(&batch); r.Next(&e); {
				}
			}
		})
	})
	for _, c := range ruleCases(b) {
		b.Run(c.name, func(b *testing.B) {
			w := newGeneration(compiled(b, c.files(), ruleset.Options{}), "bench", newThrottle(maxThrottled), true, nil).pool.Get().(*work)
			alerts := 0
			perEvent(b, events, func() {
				for _, data := range batches {
					if err := w.run(data); err != nil {
						b.Fatal(err)
					}
					alerts += len(w.out)
				}
			})
			b.ReportMetric(float64(alerts)/float64(b.N+1), "alerts")
		})
	}
}
