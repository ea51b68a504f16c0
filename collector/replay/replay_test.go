package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/collector/decode/recordtest"
)

// made is a source that holds its records.
type made struct{ seeds, records [][]byte }

func (m made) Seed(fn func(raw, cmdline []byte) error) error {
	for _, s := range m.seeds {
		if err := fn(s, []byte("x\x00y\x00")); err != nil {
			return err
		}
	}
	return nil
}

func (m made) Read(_ context.Context, record func([]byte), _ func()) error {
	for _, r := range m.records {
		record(r)
	}
	return nil
}

func sample() made {
	rec := func(at uint64) []byte { return recordtest.Record(bpf.Header{Kind: 9, Time: at}, "some text", 7) }
	return made{[][]byte{rec(0), rec(1)}, [][]byte{rec(10), rec(10 + uint64(time.Second)), rec(10 + 3*uint64(time.Second))}}
}

func recording(t testing.TB, m made) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Meta{Node: "n", Mode: "tracepoint"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Record(t.Context(), m, w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func all(s *Source) (made, error) {
	var got made
	err := s.Seed(func(raw, cmdline []byte) error {
		if string(cmdline) != "x\x00y\x00" {
			return errors.New("command line is " + string(cmdline))
		}
		got.seeds = append(got.seeds, bytes.Clone(raw))
		return nil
	})
	if err == nil {
		err = s.Read(context.Background(), func(raw []byte) { got.records = append(got.records, bytes.Clone(raw)) }, func() {})
	}
	return got, err
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	s, err := New(bytes.NewReader(recording(t, want)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := all(s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(made{})); diff != "" {
		t.Errorf("recording (-want +got):\n%s", diff)
	}
	if m := s.Meta(); m.Node != "n" || m.Mode != "tracepoint" || m.Version != Version || s.Mode() != "recorded" {
		t.Errorf("meta %+v", m)
	}
	if k, _ := s.Counters(); k.Sent[9] != 3 {
		t.Errorf("sent %d", k.Sent[9])
	}
}

func TestPace(t *testing.T) {
	data := recording(t, sample())
	synctest.Test(t, func(t *testing.T) {
		s, err := New(bytes.NewReader(data), Options{Speed: 2})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if got, err := all(s); err != nil || len(got.records) != 3 {
			t.Fatalf("%d records, %v", len(got.records), err)
		}
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("3 s at twice the pace took %s", took)
		}
	})
}

func TestDamaged(t *testing.T) {
	data := recording(t, sample())
	old := func(meta string) []byte {
		var b bytes.Buffer
		b.WriteString(magic)
		w := s2.NewWriter(&b)
		_, _ = w.Write(append([]byte{frameMeta, byte(len(meta))}, meta...))
		_ = w.Close()
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"empty": {nil, ErrFormat}, "other file": {[]byte("#!/bin/sh\n exit"), ErrFormat}, "magic only": {data[:8], ErrFormat},
		"version": {old(`{"version":9}`), ErrVersion}, "meta": {old(`{`), ErrFormat}, "flipped": {append(append([]byte{}, data[:40]...), data[30:]...), ErrFormat},
	} {
		s, err := New(bytes.NewReader(tt.data), Options{})
		if err == nil {
			_, err = all(s)
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte("m\x0d{\"version\":1}r\x02xx"))
	f.Fuzz(func(_ *testing.T, frames []byte) {
		var b bytes.Buffer
		b.WriteString(magic)
		w := s2.NewWriter(&b)
		_, _ = w.Write(frames)
		_ = w.Close()
		if s, err := New(io.Reader(&b), Options{}); err == nil {
			_ = s.Seed(func(_, _ []byte) error { return nil })
			_ = s.Read(context.Background(), func([]byte) {}, func() {})
		}
	})
}
