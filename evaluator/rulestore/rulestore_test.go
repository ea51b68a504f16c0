package rulestore

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

func files(text string) []rulesv1.File {
	return []rulesv1.File{{Name: "a.yaml", Data: []byte(text)}}
}

func open(t *testing.T, b *bus.Bus, name string) *Store {
	t.Helper()
	s, err := Open(t.Context(), b, bus.BucketRules, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func push(t *testing.T, s *Store, p Push) Version {
	t.Helper()
	v, fresh, err := s.Push(t.Context(), p)
	if err != nil || !fresh {
		t.Fatalf("push: fresh %v, %v", fresh, err)
	}
	return v
}

func TestPush(t *testing.T) {
	b := bustest.New(t)
	s := open(t, b, "default")
	if v, err := s.Current(t.Context()); err != nil || v.Revision != 0 {
		t.Fatalf("before the first push: %+v, %v", v, err)
	}
	if _, _, err := s.Rollback(t.Context(), "", "", "", nil); !errors.Is(err, ErrNone) {
		t.Errorf("rollback of nothing: %v", err)
	}
	one := push(t, s, Push{Files: files("1"), Author: "ada", Comment: "first"})
	if now, err := s.Current(t.Context()); err != nil || now.Digest() != one.Digest() || now.Doc.Author != "ada" || now.Doc.Comment != "first" || now.Revision != one.Revision {
		t.Fatalf("%+v, %v", now, err)
	}
	if _, fresh, err := s.Push(t.Context(), Push{Files: files("1")}); fresh || err != nil {
		t.Errorf("the same again: %v, %v", fresh, err)
	}
	if _, _, err := s.Push(t.Context(), Push{Files: files("2"), Author: "eve"}); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), `made of no version, but "ada" pushed `+rulesv1.Short(one.Digest())) {
		t.Errorf("without a base: %v", err)
	}
	two := push(t, s, Push{Files: files("2"), Base: one.Digest()})
	if _, _, err := s.Push(t.Context(), Push{Files: files("3"), Base: one.Digest()}); !errors.Is(err, ErrConflict) {
		t.Errorf("on an old base: %v", err)
	}
	push(t, s, Push{Files: files("3"), Base: one.Digest(), Force: true})
	back, fresh, err := s.Rollback(t.Context(), rulesv1.Short(one.Digest())[:6], "bob", "", nil)
	if err != nil || !fresh || back.Digest() != one.Digest() || !strings.HasPrefix(back.Doc.Comment, "rollback to ") {
		t.Fatalf("%+v, %v, %v", back, fresh, err)
	}
	back, _, err = s.Rollback(t.Context(), "", "bob", "", nil)
	if err != nil || string(back.Doc.Files[0].Data) != "3" {
		t.Errorf("rollback without a digest: %+v, %v", back, err)
	}
	list, err := s.Versions(t.Context())
	if err != nil || len(list) != 5 {
		t.Fatalf("%d versions, %v", len(list), err)
	}
	for i, want := range []string{"1", "2", "3", "1", "3"} {
		if got := string(list[i].Doc.Files[0].Data); got != want || i > 0 && list[i].Doc.Pushed <= list[i-1].Doc.Pushed {
			t.Errorf("version %d holds %s, want %s", i, got, want)
		}
	}
	if v, err := s.Find(t.Context(), two.Digest()); err != nil || v.Revision != two.Revision {
		t.Errorf("%+v, %v", v, err)
	}
	for _, bad := range []string{"", "abc", "0000000", "x" + two.Digest()} {
		if _, err := s.Find(t.Context(), bad); !errors.Is(err, ErrNone) {
			t.Errorf("find %q: %v", bad, err)
		}
	}
	// Another set of the bucket is another history.
	if list, err := open(t, b, "staging").Versions(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%d versions of another set, %v", len(list), err)
	}
	if _, err := Open(t.Context(), b, bus.BucketRules, "a b"); !errors.Is(err, rulesv1.ErrInvalid) {
		t.Error(err)
	}
}

// TestRace: of pushers that start from the same version one wins, and the others hear of it.
func TestRace(t *testing.T) {
	s := open(t, bustest.New(t), "default")
	base := push(t, s, Push{Files: files("0")}).Digest()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, _, errs[i] = s.Push(t.Context(), Push{Files: files(fmt.Sprint(i + 1)), Base: base})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	}
	if list, err := s.Versions(t.Context()); won != 1 || err != nil || len(list) != 2 {
		t.Errorf("%d pushers won, %d versions, %v", won, len(list), err)
	}
}

func TestSigned(t *testing.T) {
	b := bustest.New(t)
	s := open(t, b, "default")
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public := key.Public().(ed25519.PublicKey)
	one := push(t, s, Push{Files: files("1")})
	signed := push(t, s, Push{Files: files("1"), Key: key}) // the same files, now signed
	if signed.Digest() != one.Digest() || signed.Doc.KeyID != actionv1.KeyID(public) || signed.Doc.Verify([]ed25519.PublicKey{public}) != nil {
		t.Errorf("%+v", signed)
	}
	p := Push{Files: files("2"), Base: one.Digest()}
	if _, _, err := s.Push(t.Context(), p); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned over signed: %v", err)
	}
	p.Key = key
	push(t, s, p)
	if _, _, err := s.Rollback(t.Context(), "", "", "", nil); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned rollback: %v", err)
	}
	back, _, err := s.Rollback(t.Context(), "", "", "", key)
	if err != nil || back.Digest() != one.Digest() || back.Doc.Verify([]ed25519.PublicKey{public}) != nil {
		t.Errorf("signed rollback: %+v, %v", back, err)
	}
}

// TestForeign: what is in the bucket but was not pushed is shown and only replaced by force; a deletion is no obstacle.
func TestForeign(t *testing.T) {
	b := bustest.New(t)
	s := open(t, b, "default")
	kv, err := b.KV(t.Context(), bus.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "default", []byte("rules: []\n")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Current(t.Context()); err != nil || !errors.Is(v.Err, rulesv1.ErrMalformed) {
		t.Errorf("%+v, %v", v, err)
	}
	if _, _, err := s.Push(t.Context(), Push{Files: files("1")}); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	one := push(t, s, Push{Files: files("1"), Force: true})
	if err := kv.Delete(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Current(t.Context()); err != nil || !v.Deleted {
		t.Errorf("%+v, %v", v, err)
	}
	back, _, err := s.Rollback(t.Context(), "", "", "", nil)
	if err != nil || back.Digest() != one.Digest() {
		t.Errorf("%+v, %v", back, err)
	}
}
