package ruleset_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// generated are rule files with one condition each, and the lists and macros that they use.
func generated(t testing.TB, w *writer, n int) []rule.File {
	t.Helper()
	shared := "lists:\n  few: [cat, /usr/bin/cat]\n  many: [a, cat, Cat, bash, /usr, /etc/shadow, x.so, \"10.0.0.5\", é, Y2F0]\nmacros:\n"
	for i := range 4 {
		w.macros = i
		shared += fmt.Sprintf("  m%d: |\n    %s\n", i, w.boolean(3))
	}
	w.macros = 4
	files := []rule.File{parse(t, "shared", shared)}
	for i := range n {
		id := fmt.Sprintf("r%03d", i)
		files = append(files, parse(t, id, ruleText(id, w.boolean(5))))
	}
	return files
}

// compileValid leaves out the rules that are refused, such as those that can never be true.
func compileValid(t testing.TB, files []rule.File, o ruleset.Options) (*ruleset.Set, []rule.File) {
	t.Helper()
	for {
		s, err := ruleset.Compile(files, o)
		if err == nil {
			return s, files
		}
		var errs rule.Errors
		if !errors.As(err, &errs) {
			t.Fatal(err)
		}
		before := len(files)
		files = slices.DeleteFunc(slices.Clone(files), func(f rule.File) bool {
			return slices.ContainsFunc(errs, func(e *rule.Error) bool { return e.File == f.Name })
		})
		if len(files) == before {
			t.Fatal(err)
		}
	}
}

// verdicts evaluates batches in the same memory, as a worker does: for each event the rules that hold, and with a mark those that fail.
func verdicts(set *ruleset.Set, failed *[]string, batches ...*eventv1.Batch) []string {
	engine, v, r := set.Engine(), field.NewView(), eventv1.NewReader()
	var out []string
	var reused eventv1.Batch
	for _, b := range batches {
		reused = *b
		r.Reset(&reused)
		engine.Batch(v, &reused)
		var e eventv1.Event
		for r.Next(&e) {
			v.Event(&e)
			*failed = (*failed)[:0]
			var hits []string
			engine.Eval(v, &e, func(r *ruleset.Rule) { hits = append(hits, r.ID) })
			slices.Sort(*failed)
			out = append(out, fmt.Sprintf("%d %s: %s! %s", e.Seq, e.Kind, strings.Join(hits, " "), strings.Join(*failed, " ")))
		}
	}
	engine.Flush()
	return out
}

// compare generates conditions and events from a seed and checks that the compiled set says what cel-go says.
// It returns how many pairs of a rule and an event were compared, and how many rules were compiled.
func compare(t testing.TB, seed uint64, rules, events int) (pairs, compiled, hits, errs int) {
	t.Helper()
	w := &writer{Rand: rand.New(rand.NewPCG(seed, 1))}
	files := generated(t, w, rules)
	var failedA, failedB []string
	reference, files := compileValid(t, files, ruleset.Options{Interpret: true, OnError: func(id string, _ error) { failedA = append(failedA, id) }})
	set, err := ruleset.Compile(files, ruleset.Options{OnError: func(id string, _ error) { failedB = append(failedB, id) }})
	if err != nil {
		t.Fatal(err)
	}
	first, second := w.batch(events/2), w.batch(events-events/2)
	want, got := verdicts(reference, &failedA, first, second), verdicts(set, &failedB, first, second)
	if len(want) != events {
		t.Fatalf("%d of %d events were read", len(want), events)
	}
	for i := range want {
		if want[i] == got[i] {
			continue
		}
		t.Errorf("seed %d (-cel-go +compiled)\n%s", seed, cmp.Diff(want[i], got[i]))
		for _, r := range set.Rules() {
			if strings.Contains(want[i], r.ID) != strings.Contains(got[i], r.ID) || errorOf(want[i], r.ID) != errorOf(got[i], r.ID) {
				t.Errorf("%s: %s\ncompiled: %s", r.ID, r.Condition.Value, r.Form)
				return pairs, compiled, hits, errs
			}
		}
		return pairs, compiled, hits, errs
	}
	for i, s := range reference.Stats() {
		hits, errs = hits+int(s.Matched), errs+int(s.Errors)
		if x := set.Stats()[i]; x.Matched != s.Matched || x.Errors != s.Errors {
			t.Errorf("seed %d: rule %s is counted %d matched, %d errors, want %d and %d", seed, s.ID, x.Matched, x.Errors, s.Matched, s.Errors)
		}
	}
	return len(set.Rules()) * len(want), len(set.Rules()) - set.Interpreted(), hits, errs
}

func errorOf(verdict, id string) bool {
	_, errs, _ := strings.Cut(verdict, "!")
	return strings.Contains(errs, id)
}

// TestDifferential holds the compiled rules to cel-go on generated conditions and events.
func TestDifferential(t *testing.T) {
	var pairs, compiled, rules, hits, errs int
	for seed := uint64(0); pairs < 40_000; seed++ {
		p, c, h, e := compare(t, seed, 50, 40)
		if t.Failed() {
			return
		}
		pairs, compiled, rules, hits, errs = pairs+p, compiled+c, rules+p/40, hits+h, errs+e
	}
	t.Logf("%d pairs of rule and event, %d of %d rules compiled, %d hits, %d errors", pairs, compiled, rules, hits, errs)
	if compiled*10 < rules*9 {
		t.Errorf("only %d of %d rules are compiled", compiled, rules)
	}
	if hits*20 < pairs || errs*100 < pairs {
		t.Errorf("%d hits and %d errors in %d pairs: the conditions say too little", hits, errs, pairs)
	}
}

// FuzzDifferential is TestDifferential on seeds that the fuzzer chooses.
func FuzzDifferential(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, seed, 40, 60) })
}
