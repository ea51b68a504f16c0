package compile

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/field"
)

// TestRowFields: a field that the engine keeps per process row says the same for every event of that process, and a
// field is absent for the kinds that its row in the catalogue does not name. The engine rests on both.
func TestRowFields(t *testing.T) {
	b := eventv1.NewBuilder()
	eventtest.Sample(b, "node", 1, 1)
	text := int64(b.InternString("/some/path"))
	address := int64(b.InternString("\x0a\x00\x00\x05"))
	other := int64(b.InternString("other"))
	seq := uint64(1)
	for _, kind := range eventv1.Kinds() {
		for variant := range int64(2) {
			seq++
			e := eventv1.Event{Kind: kind, Seq: seq, Time: int64(seq * 1000), Proc: 2, TID: uint32(seq), Ret: variant * 5, CPU: uint16(variant), Flags: eventv1.EventFlag(variant)}
			for i, a := range kind.Info().Args {
				switch {
				case a.Type == eventv1.Address:
					e.Args[i] = address
				case a.Type.IsString():
					e.Args[i] = text + variant*(other-text)
				default:
					e.Args[i] = variant + 2
				}
			}
			if kind.IsClone() {
				e.Args[eventv1.CloneChildProc] = -1
			}
			b.Add(&e)
		}
	}
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(b.Encode(), &batch); err != nil {
		t.Fatal(err)
	}
	v, r := field.NewView(), eventv1.NewReader()
	v.Batch(&batch)
	r.Reset(&batch)
	first := map[string]any{}
	var e eventv1.Event
	for r.Next(&e) {
		if e.Seq == 1 {
			continue
		}
		v.Event(&e)
		for _, f := range field.All() {
			got := f.Value(v)
			if f.Kinds != nil && !slices.Contains(f.Kinds, e.Kind) && got != nil {
				t.Errorf("%s is %v for %s, which its kinds do not name", f.Name, got, e.Kind)
			}
			if levelOf(f) != levelRow {
				continue
			}
			if want, seen := first[f.Name]; !seen {
				first[f.Name] = got
			} else if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s depends on the event (%s): name it in ofEvent\n%s", f.Name, e.Kind, d)
			}
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if len(first) < 50 {
		t.Errorf("only %d fields are kept per process", len(first))
	}
}
