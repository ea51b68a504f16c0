package rulesv1

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/wire"
)

var update = flag.Bool("update", false, "write the fixture of this release")

func testKey(n byte) (ed25519.PrivateKey, ed25519.PublicKey) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+n)), ed25519.SeedSize)))
	return key, key.Public().(ed25519.PublicKey)
}

func sample() *Set {
	return &Set{
		Name: "default", Pushed: 1_780_000_000_000_000_000, Author: "ada", Comment: "less noise",
		Files: []File{{"falco/falco_rules.yaml", []byte("- list: a\n  items: [b]\n")}, {"own.yml", []byte("rules: []\n")}, {"empty.yaml", []byte{}}},
	}
}

func TestRoundTrip(t *testing.T) {
	key, public := testKey(0)
	_, other := testKey(1)
	for _, signer := range []ed25519.PrivateKey{nil, key} {
		s := sample()
		data, err := Marshal(s, signer)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*s, d.Set); diff != "" {
			t.Error(diff)
		}
		if d.Digest() != s.Digest() || d.Signed() != (signer != nil) || (d.KeyID != "") != (signer != nil) {
			t.Errorf("digest %s, signed %v by %q", d.Digest(), d.Signed(), d.KeyID)
		}
		for _, c := range []struct {
			keys []ed25519.PublicKey
			want error
		}{{[]ed25519.PublicKey{other, public}, nil}, {[]ed25519.PublicKey{other}, ErrSignature}, {nil, ErrSignature}} {
			want := c.want
			if signer == nil {
				want = ErrUnsigned
			}
			if err := d.Verify(c.keys); !errors.Is(err, want) {
				t.Errorf("verify with %d keys: %v, want %v", len(c.keys), err, want)
			}
		}
	}
}

// TestDigest: names, contents and order count; what is written beside them does not.
func TestDigest(t *testing.T) {
	base := sample().Digest()
	s := sample()
	s.Name, s.Pushed, s.Author, s.Comment, s.KeyID = "other", 1, "eve", "", "x"
	if s.Digest() != base {
		t.Error("the digest depends on more than the files")
	}
	for name, change := range map[string]func(*Set){
		"order":   func(s *Set) { s.Files[0], s.Files[1] = s.Files[1], s.Files[0] },
		"name":    func(s *Set) { s.Files[1].Name = "owm.yml" },
		"content": func(s *Set) { s.Files[1].Data = []byte("rules: [ ]\n") },
		"border":  func(s *Set) { s.Files[1].Name, s.Files[1].Data = "own.ymlr", []byte("ules: []\n") },
	} {
		s := sample()
		if change(s); s.Digest() == base {
			t.Errorf("%s does not count", name)
		}
	}
}

func TestTampered(t *testing.T) {
	key, public := testKey(0)
	data, err := Marshal(sample(), key)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := range data {
		bad := append([]byte{}, data...)
		bad[i] ^= 1
		if d, err := Open(bad); err == nil && d.Verify([]ed25519.PublicKey{public}) == nil {
			accepted++
			t.Errorf("byte %d changed and nobody saw it", i)
		}
		if d, err := Open(data[:i]); err == nil {
			t.Errorf("%d bytes of %d were read: %+v", i, len(data), d.Set)
		}
	}
}

func TestRefused(t *testing.T) {
	noise := make([]byte, MaxDocument+1)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, c := range []struct {
		name   string
		change func(*Set)
		want   error
		text   string
	}{
		{"no name", func(s *Set) { s.Name = "" }, ErrInvalid, "the name"},
		{"a name with dots", func(s *Set) { s.Name = "a.b" }, ErrInvalid, "the name"},
		{"no files", func(s *Set) { s.Files = nil }, ErrInvalid, "no files"},
		{"two of a name", func(s *Set) { s.Files[1].Name = s.Files[0].Name }, ErrInvalid, "two files falco/falco_rules.yaml"},
		{"above the directory", func(s *Set) { s.Files[0].Name = "../x.yaml" }, ErrInvalid, "not a path below a directory"},
		{"absolute", func(s *Set) { s.Files[0].Name = "/etc/x.yaml" }, ErrInvalid, "not a path below a directory"},
		{"of another system", func(s *Set) { s.Files[0].Name = `c:\x.yaml` }, ErrInvalid, "not a path below a directory"},
		{"hidden", func(s *Set) { s.Files[0].Name = ".git/x.yaml" }, ErrInvalid, "is hidden"},
		{"no rule file", func(s *Set) { s.Files[0].Name = "x.sh" }, ErrInvalid, "rule file"},
		{"cases", func(s *Set) { s.Files[0].Name = "a/cases.yaml" }, ErrInvalid, "rule file"},
		{"control", func(s *Set) { s.Files[0].Name = "a\x1b.yaml" }, ErrInvalid, "not printed"},
		{"long", func(s *Set) { s.Files[0].Name = strings.Repeat("a", 300) + ".yaml" }, ErrInvalid, "longer than"},
		{"comment", func(s *Set) { s.Comment = strings.Repeat("a", MaxText+1) }, ErrTooLarge, "comment"},
		{"content", func(s *Set) { s.Files[0].Data = make([]byte, MaxContent) }, ErrTooLarge, "bytes in all files, at most 16777216"},
		{"incompressible", func(s *Set) { s.Files[0].Data = noise }, ErrTooLarge, "bytes compressed, at most 1000000"},
		{"files", func(s *Set) { s.Files = make([]File, MaxFiles+1) }, ErrTooLarge, "1001 files, at most 1000"},
	} {
		s := sample()
		c.change(s)
		if _, err := Marshal(s, nil); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, bad := range []string{"", "rules: []\n", "\x93\x01\xc4\x00\xc4\x00"} {
		if _, err := Open([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestBomb: what decompresses to too much is refused before it is all there.
func TestBomb(t *testing.T) {
	s := sample()
	s.Files[0].Data = make([]byte, MaxContent-100)
	data, err := Marshal(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := wire.NewDecoder()
	d.Reset(data)
	d.Array("document", 3)
	d.Int()
	if _, err := inflate(d.Bytes()); err != nil {
		t.Fatal(err)
	}
	if len(data) > 100_000 {
		t.Errorf("%d bytes", len(data))
	}
	if _, err := inflate(pack(t, make([]byte, 2*MaxContent))); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

type fixture struct {
	Digest, PublicKey string
	Set               Set
}

// TestFixtures: every document ever released must be read.
func TestFixtures(t *testing.T) {
	dir := filepath.Join("..", "testdata", "v1")
	key, public := testKey(0)
	if *update {
		s := sample()
		data, err := Marshal(s, key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(fixture{s.Digest(), base64.StdEncoding.EncodeToString(public), *s}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"0001.rule-set.msgpack": data, "0001.rule-set.json": append(text, '\n')} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.rule-set.msgpack"))
	if err != nil || len(names) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(strings.TrimSuffix(name, "msgpack") + "json")
		if err != nil {
			t.Fatal(err)
		}
		var want fixture
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		d, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Set, d.Set); diff != "" || d.Digest() != want.Digest {
			t.Errorf("%s: digest %s\n%s", name, d.Digest(), diff)
		}
		public, err := ParseKey(want.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Verify([]ed25519.PublicKey{public}); err != nil {
			t.Error(err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key, public := testKey(0)
	for _, k := range []ed25519.PrivateKey{nil, key} {
		data, err := Marshal(sample(), k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Open(data)
		if err != nil {
			return
		}
		_ = d.Verify([]ed25519.PublicKey{public})
		if again, err := Marshal(&d.Set, nil); err == nil {
			e, err := Open(again)
			if err != nil || e.Digest() != d.Digest() {
				t.Errorf("written again: %v", err)
			}
		}
	})
}
