package actionv1_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/wire"
)

var freeze = flag.String("freeze", "", "write new wire fixtures of this name; existing ones are never changed")

// testKey is the same in every run, so that fixtures are. It guards nothing.
func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the seed of a key for tests only"))
}

func sample() actionv1.Request {
	return actionv1.Request{
		ID: actionv1.ID{0: 0x5a, 6: 0x40, 8: 0x80, 15: 1}, Node: "node-1", Action: actionv1.KillTree, Target: "node-1:0123abcd:123456789:42:3", Reason: "miner \"x\" ü",
		IssuedAt: 1_780_000_000_000_000_001, ExpiresAt: 1_780_000_060_000_000_001,
	}
}

func sampleResult() actionv1.Result {
	return actionv1.Result{
		RequestID: sample().ID, Node: "node-1", Status: actionv1.Failed, Code: "still_running", Reason: "1 of 2 has not ended", When: 1_780_000_001_000_000_000,
		Hits: []actionv1.Hit{{ExecID: "node-1:0123abcd:123456789:42:3", PID: 42}, {PID: 43}}, HitCount: 2, DryRun: true,
		Action: actionv1.KillTree, Target: sample().Target, Why: sample().Reason, KeyID: "0011223344556677", KeyName: "ada", Digest: actionv1.DigestOf([]byte("x")),
	}
}

func TestSignedRoundTrip(t *testing.T) {
	want := sample()
	message, err := actionv1.Sign(&want, testKey())
	if err != nil {
		t.Fatal(err)
	}
	env, err := actionv1.Open(message)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := testKey().Public().(ed25519.PublicKey)
	if err := env.Verify(public); err != nil {
		t.Fatal(err)
	}
	got, err := actionv1.Unmarshal(env.Body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got.KeyID != actionv1.KeyID(public) {
		t.Errorf("key id %s", got.KeyID)
	}
	// Every bit of the signed bytes counts.
	for i := range env.Body {
		body := append([]byte(nil), env.Body...)
		body[i] ^= 1
		if err := (actionv1.Envelope{Body: body, Signature: env.Signature}).Verify(public); !errors.Is(err, actionv1.ErrSignature) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if err := (actionv1.Envelope{Body: env.Body}).Verify(public); !errors.Is(err, actionv1.ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	for n := range message {
		if _, err := actionv1.Open(message[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("a message cut at byte %d: %v", n, err)
		}
	}
	for n := range env.Body {
		if _, err := actionv1.Unmarshal(env.Body[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("a request cut at byte %d: %v", n, err)
		}
	}
	if _, err := actionv1.Unmarshal(append(slices.Clip(env.Body), 0)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}
	message[1] = 9
	if _, err := actionv1.Open(message); !errors.Is(err, actionv1.ErrVersion) {
		t.Errorf("version 9: %v", err)
	}
	if _, err := actionv1.Open(make([]byte, actionv1.MaxRequest+1)); !errors.Is(err, actionv1.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*actionv1.Request){
		"no id":           func(r *actionv1.Request) { r.ID = actionv1.ID{} },
		"no node":         func(r *actionv1.Request) { r.Node = "" },
		"no reason":       func(r *actionv1.Request) { r.Reason = " " },
		"no target":       func(r *actionv1.Request) { r.Target = "" },
		"long reason":     func(r *actionv1.Request) { r.Reason = strings.Repeat("x", actionv1.MaxText+1) },
		"bad reason":      func(r *actionv1.Request) { r.Reason = "\xff" },
		"unknown action":  func(r *actionv1.Request) { r.Action = "reboot" },
		"no exec id":      func(r *actionv1.Request) { r.Target = "42" },
		"ends first":      func(r *actionv1.Request) { r.ExpiresAt = r.IssuedAt - 1 },
		"for too long":    func(r *actionv1.Request) { r.ExpiresAt = r.IssuedAt + int64(actionv1.MaxValidity) + 1 },
		"times overflow":  func(r *actionv1.Request) { r.IssuedAt, r.ExpiresAt = 1, 1<<63-1 },
		"before the time": func(r *actionv1.Request) { r.IssuedAt, r.ExpiresAt = -2, -1 },
	} {
		r := sample()
		change(&r)
		if _, err := actionv1.Sign(&r, testKey()); !errors.Is(err, actionv1.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := sample()
	r.Action, r.Target = actionv1.StopContainer, strings.Repeat("ab", 32)
	r.ExpiresAt = r.IssuedAt + int64(5*time.Minute)
	if _, err := actionv1.Sign(&r, testKey()); err != nil {
		t.Error(err)
	}
}

func TestExecID(t *testing.T) {
	b := eventv1.Batch{Node: "a:b.example", BootID: "0123abcd-9999"}
	s := b.ExecID(&eventv1.Proc{PID: 7, Start: 99, ExecCount: 2})
	e, err := actionv1.ParseExecID(s)
	want := actionv1.ExecID{Node: "a:b.example", Boot: "0123abcd", Start: 99, PID: 7, Execs: 2}
	if err != nil || e != want || e.String() != s {
		t.Errorf("ParseExecID(%q) = %+v, %v", s, e, err)
	}
	for _, s := range []string{"", "n:b:1:2", "n:b:1:2:x", "n:b:-1:2:3", "n:b:1:0:3", "n:b:1:-2:3", "n:b:01:2:3", "n:b:+1:2:3", ":b:1:2:3", "n::1:2:3", "n:b:1:4294967296:1", "n:b:1:2147483648:1"} {
		if e, err := actionv1.ParseExecID(s); !errors.Is(err, actionv1.ErrInvalid) {
			t.Errorf("ParseExecID(%q) = %+v, %v", s, e, err)
		}
	}
}

func TestID(t *testing.T) {
	id := actionv1.NewID()
	if id == actionv1.NewID() {
		t.Error("two ids are the same")
	}
	var back actionv1.ID
	if err := back.UnmarshalText([]byte(id.String())); err != nil || back != id || len(id.String()) != 36 {
		t.Errorf("%s reads as %s: %v", id, back, err)
	}
	for _, s := range []string{"", "x", id.String()[:35], strings.ReplaceAll(id.String(), "-", ""), id.String() + "0"} {
		if err := back.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestResultRoundTrip(t *testing.T) {
	want := sampleResult()
	data := want.Marshal()
	got, err := actionv1.UnmarshalResult(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for n := range data {
		if _, err := actionv1.UnmarshalResult(data[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("a result cut at byte %d: %v", n, err)
		}
	}
	want.Hits = make([]actionv1.Hit, actionv1.MaxHits+1)
	if got, err = actionv1.UnmarshalResult(want.Marshal()); err != nil || len(got.Hits) != actionv1.MaxHits {
		t.Errorf("%d hits, %v", len(got.Hits), err)
	}
	want.Status = "odd"
	if _, err = actionv1.UnmarshalResult(want.Marshal()); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("odd status: %v", err)
	}
}

// frozen is every message of a fixture: how it is made now, and how the bytes of any release read.
func frozen() map[string]struct {
	data []byte
	read func([]byte) (any, error)
} {
	r, res := sample(), sampleResult()
	message, _ := actionv1.Sign(&r, testKey())
	return map[string]struct {
		data []byte
		read func([]byte) (any, error)
	}{
		"action-request": {message, func(data []byte) (any, error) {
			env, err := actionv1.Open(data)
			if err != nil {
				return nil, err
			}
			public, _ := testKey().Public().(ed25519.PublicKey)
			if err := env.Verify(public); err != nil {
				return nil, err
			}
			return actionv1.Unmarshal(env.Body)
		}},
		"action-result": {res.Marshal(), func(data []byte) (any, error) { return actionv1.UnmarshalResult(data) }},
	}
}

func TestFixtures(t *testing.T) {
	dir := filepath.Join("..", "testdata", "v1")
	for kind, f := range frozen() {
		if *freeze != "" {
			v, err := f.read(f.data)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, *freeze+"."+kind+".msgpack"), f.data)
			write(t, filepath.Join(dir, *freeze+"."+kind+".json"), asJSON(t, v))
		}
		files, err := filepath.Glob(filepath.Join(dir, "*."+kind+".msgpack"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no fixtures of %s: %v", kind, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			v, err := f.read(data)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, "msgpack") + "json")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(asJSON(t, v))); d != "" {
				t.Errorf("%s reads otherwise (-want +got)\n%s", file, d)
			}
		}
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func FuzzOpen(f *testing.F) {
	r := sample()
	message, err := actionv1.Sign(&r, testKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message)
	f.Add(r.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		if env, err := actionv1.Open(data); err == nil {
			data = env.Body
		}
		r, err := actionv1.Unmarshal(data)
		if err != nil {
			return
		}
		back, err := actionv1.Unmarshal(r.Marshal())
		if err != nil || back != r {
			t.Fatalf("%+v reads as %+v: %v", r, back, err)
		}
		if err := r.Validate(); err != nil && !errors.Is(err, actionv1.ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func FuzzUnmarshalResult(f *testing.F) {
	r := sampleResult()
	f.Add(r.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := actionv1.UnmarshalResult(data)
		if err != nil {
			return
		}
		back, err := actionv1.UnmarshalResult(r.Marshal())
		if err != nil || !cmp.Equal(r, back) {
			t.Fatalf("a result that decodes does not come back: %v\n%s", err, cmp.Diff(r, back))
		}
	})
}

func FuzzParseExecID(f *testing.F) {
	f.Add("node:0123abcd:1:2:3")
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := actionv1.ParseExecID(s); err == nil && e.String() != s {
			t.Fatalf("%q reads as %q", s, e)
		}
	})
}
