package evaluator

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator/rulestore"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

// awaitRules waits until the rules of all evaluators are as ok says.
func awaitRules(t *testing.T, what string, list []*Evaluator, ok func(Info) bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, e := range list {
		for !ok(e.Rules()) {
			if time.Now().After(deadline) {
				t.Fatalf("%s never happened: %+v", what, e.Rules())
			}
			time.Sleep(10 * time.Millisecond) // poll of a state that has no event to await
		}
	}
}

func remoteFiles(name string) []rulesv1.File {
	return []rulesv1.File{
		{Name: "falco.yaml", Data: []byte("- list: names\n  items: [" + name + "]\n- rule: Theirs\n  desc: d\n  condition: evt.type = execve and proc.name in (names)\n  output: theirs %proc.name\n  priority: NOTICE\n")},
		{Name: "own/mine.yaml", Data: []byte(rulesFor(name))},
	}
}

// TestRuleSet: two evaluators follow what is pushed, their alerts name its digest, and what does not check changes nothing.
func TestRuleSet(t *testing.T) {
	srv := bustest.Start(t)
	b := srv.Connect()
	store, err := rulestore.Open(t.Context(), b, bus.BucketRules, "default")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Builtin, cfg.Poll = false, time.Hour // the watch alone tells
	both := []*Evaluator{start(t, b, cfg), start(t, srv.Connect(), cfg)}
	is := func(v rulestore.Version) func(Info) bool {
		return func(i Info) bool { return i.Set == "default@"+v.Digest() && i.Revision == v.Revision && i.Error == "" }
	}
	one, _, err := store.Push(t.Context(), rulestore.Push{Files: remoteFiles("one")})
	if err != nil {
		t.Fatal(err)
	}
	awaitRules(t, "the first version", both, is(one))
	for i, name := range []string{"one", "two", "one", "one"} {
		publish(t, b, string(rune('a'+i)), execBatch(t, name))
	}
	// The batches are one process each, at the same place: the stream keeps one alert per rule and event.
	for _, m := range until(t, b, bus.StreamAlerts, 2) {
		a, err := alertv1.Unmarshal(m.Data)
		if err != nil || !strings.HasSuffix(a.Ruleset, " default@"+one.Digest()) || !strings.HasPrefix(a.Ruleset, both[0].Rules().Digest) {
			t.Errorf("alert of %s names %q, %v", a.RuleID, a.Ruleset, err)
		}
	}
	two, _, err := store.Push(t.Context(), rulestore.Push{Files: remoteFiles("two"), Base: one.Digest()})
	if err != nil {
		t.Fatal(err)
	}
	awaitRules(t, "the second version", both, is(two))
	bad := remoteFiles("three")
	bad[1].Data = bytes.Replace(bad[1].Data, []byte("proc.name"), []byte("proc.nmae"), 1)
	if _, _, err = store.Push(t.Context(), rulestore.Push{Files: bad, Base: two.Digest()}); err != nil { // the store does not check, gyre rules push does
		t.Fatal(err)
	}
	awaitRules(t, "the refusal", both, func(i Info) bool { return strings.Contains(i.Error, "kv:default/own/mine.yaml:4:") })
	awaitRules(t, "the old rules", both, func(i Info) bool { return i.Set == "default@"+two.Digest() })
	back, _, err := store.Rollback(t.Context(), one.Digest(), "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitRules(t, "the rollback", both, is(back))
	if late := start(t, srv.Connect(), cfg); late != nil { // one that starts now loads it before the first event
		awaitRules(t, "the version at the start", []*Evaluator{late}, is(back))
	}
}

// TestRuleSetSignature: with keys, only what they signed takes force, and nothing older than what was.
func TestRuleSetSignature(t *testing.T) {
	b := bustest.New(t)
	newKey := func(seed byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	}
	ada, eve := newKey(1), newKey(2)
	cfg := DefaultConfig()
	cfg.Builtin = false
	cfg.RuleKeys = []string{base64.StdEncoding.EncodeToString(ada.Public().(ed25519.PublicKey))}
	e := start(t, b, cfg)
	kv, err := b.KV(t.Context(), bus.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	pushed := time.Now().UnixNano()
	document := func(set, name string, key ed25519.PrivateKey) []byte {
		t.Helper()
		pushed++
		data, err := rulesv1.Marshal(&rulesv1.Set{Name: set, Pushed: pushed, Files: remoteFiles(name)}, key)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put := func(data []byte) uint64 {
		t.Helper()
		rev, err := kv.Put(t.Context(), "default", data)
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	old := document("default", "one", ada)
	good := document("default", "two", ada)
	rev := put(good)
	awaitRules(t, "the signed set", []*Evaluator{e}, func(i Info) bool { return i.Revision == rev && i.Signer != "" && i.Error == "" })
	inForce := e.Rules()
	tampered := bytes.Clone(good)
	tampered[len(tampered)-1] ^= 1
	for _, c := range []struct {
		name, want, reason string
		change             func() uint64
	}{
		{"unsigned", "not signed", "unsigned", func() uint64 { return put(document("default", "three", nil)) }},
		{"a plain file", "not signed", "unsigned", func() uint64 { return put([]byte(rulesFor("three"))) }},
		{"another key", "not signed by a trusted key", "signature", func() uint64 { return put(document("default", "three", eve)) }},
		{"tampered", "not signed by a trusted key", "signature", func() uint64 { return put(tampered) }},
		{"older", "older than one that was accepted", "stale", func() uint64 { return put(old) }},
		{"of another name", `made as rule set "staging"`, "malformed", func() uint64 { return put(document("staging", "three", ada)) }},
		{"cut off", "malformed rule set", "malformed", func() uint64 { return put(good[:len(good)/2]) }},
		{"deleted", "deleted, which nobody signs", "deleted", func() uint64 {
			if err := kv.Delete(t.Context(), "default"); err != nil {
				t.Fatal(err)
			}
			return 0
		}},
	} {
		before := testutil.ToFloat64(e.m.refused.WithLabelValues(c.reason))
		c.change()
		awaitRules(t, c.name, []*Evaluator{e}, func(i Info) bool { return strings.Contains(i.Error, c.want) })
		if i := e.Rules(); i.Digest != inForce.Digest || i.Set != inForce.Set {
			t.Errorf("%s: in force is %+v", c.name, i)
		}
		if got := testutil.ToFloat64(e.m.refused.WithLabelValues(c.reason)); got != before+1 {
			t.Errorf("%s: %v refused for %s, want %v", c.name, got, c.reason, before+1)
		}
		rev := put(document("default", "two", ada))
		awaitRules(t, "recovery from "+c.name, []*Evaluator{e}, func(i Info) bool { return i.Revision == rev && i.Error == "" })
	}
	for _, bad := range []string{"", "x", "AAAA"} {
		c := DefaultConfig()
		if c.RuleKeys = []string{bad}; c.Validate() == nil {
			t.Errorf("key %q was accepted", bad)
		}
	}
	c := DefaultConfig()
	if c.RuleSet = "a b"; c.Validate() == nil {
		t.Error("a bad name was accepted")
	}
}
