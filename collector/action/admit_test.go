package action

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// TestRefusedBeforePolicy: what is not an authentic, new and valid request for this node is refused and says why.
func TestRefusedBeforePolicy(t *testing.T) {
	e, reports := newTest(t, policyText(everything, ""))
	c := start(t, "sleep", "1000")
	good := func() actionv1.Request { return request(actionv1.Kill, execID(t, c.pid()).String()) }
	envelope := func(change func(*actionv1.Envelope)) []byte {
		r := good()
		env, err := actionv1.Open(sign(t, r, newKey(0)))
		if err != nil {
			t.Fatal(err)
		}
		change(&env)
		m, err := env.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	changed := func(change func(*actionv1.Request)) []byte {
		r := good()
		change(&r)
		return sign(t, r, newKey(0))
	}
	// unchecked signs what Sign would refuse to.
	unchecked := func(change func(*actionv1.Request)) []byte {
		r := good()
		pub, _ := newKey(0).Public().(ed25519.PublicKey)
		r.KeyID = actionv1.KeyID(pub)
		change(&r)
		body := r.Marshal()
		m, err := actionv1.Envelope{Body: body, Signature: ed25519.Sign(newKey(0), body)}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	shift := func(d time.Duration) func(*actionv1.Request) {
		return func(r *actionv1.Request) { r.IssuedAt += int64(d); r.ExpiresAt += int64(d) }
	}
	for _, tc := range []struct {
		name    string
		message []byte
		code    string
		reason  string
	}{
		{"nothing", nil, CodeMalformed, "message ends early"},
		{"noise", []byte("\x93\x01kill them all"), CodeMalformed, ""},
		{"oversized", make([]byte, actionv1.MaxRequest+1), CodeOversized, "4097 bytes, at most 4096"},
		{"another version", []byte{0x93, 9, 0xc0, 0xc0}, CodeMalformed, "another wire version"},
		{"unsigned", envelope(func(v *actionv1.Envelope) { v.Signature = nil }), CodeUnsigned, "not signed"},
		{"bad signature", envelope(func(v *actionv1.Envelope) { v.Signature[0] ^= 1 }), CodeBadSignature, "does not fit"},
		{"short signature", envelope(func(v *actionv1.Envelope) { v.Signature = v.Signature[:8] }), CodeBadSignature, "does not fit"},
		{"changed after signing", envelope(func(v *actionv1.Envelope) { v.Body = []byte(strings.Replace(string(v.Body), "test", "tess", 1)) }), CodeBadSignature, "does not fit"},
		{"untrusted key", sign(t, good(), newKey(1)), CodeUnknownKey, "trusts no key"},
		{"another key under a trusted id", unchecked(func(r *actionv1.Request) { r.KeyID = "0000000000000000" }), CodeUnknownKey, ""},
		{"another node", changed(func(r *actionv1.Request) { r.Node = "node-2" }), CodeForeignNode, `it is for node "node-2", this is "node-1"`},
		{"expired", changed(shift(-2 * time.Minute)), CodeExpired, "ago"},
		{"of the future", changed(shift(time.Minute)), CodeNotYetValid, "compare the clocks"},
		{"for too long", unchecked(func(r *actionv1.Request) { r.ExpiresAt = r.IssuedAt + int64(6*time.Minute) }), CodeInvalid, "at most 5m"},
		{"unknown action", unchecked(func(r *actionv1.Request) { r.Action = "reboot" }), CodeInvalid, "unknown action"},
		{"no reason", unchecked(func(r *actionv1.Request) { r.Reason = "" }), CodeInvalid, "no reason"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(*reports)
			r := decide(t, e, tc.message)
			wantResult(t, r, actionv1.Refused, tc.code)
			if !strings.Contains(r.Reason, tc.reason) {
				t.Errorf("reason %q, want %q in it", r.Reason, tc.reason)
			}
			if len(*reports) != before+1 || (*reports)[before].Code != tc.code {
				t.Errorf("reported %d times", len(*reports)-before)
			}
			if r.Digest != actionv1.DigestOf(tc.message) || len(r.Hits) != 0 {
				t.Errorf("result %+v", r)
			}
		})
	}
	if !c.running() {
		t.Fatal("a refused request killed the process")
	}
	wantResult(t, ask(t, e, good()), actionv1.Executed, "") // the same request, unspoilt, works
	<-c.done
}

func TestReplay(t *testing.T) {
	e, reports := newTest(t, policyText(everything, ""))
	c := start(t, "sleep", "1000")
	message := sign(t, request(actionv1.Kill, execID(t, c.pid()).String()), newKey(0))
	first, _, _ := e.Decide(t.Context(), message, 7)
	wantResult(t, first, actionv1.Executed, "")
	again, _, ok := e.Decide(t.Context(), message, 7)
	if !ok || again.Status != actionv1.Executed || again.When != first.When || len(*reports) != 1 {
		t.Errorf("the same message delivered again: %+v, %d reports", again, len(*reports))
	}
	replay, _, _ := e.Decide(t.Context(), message, 8)
	wantResult(t, replay, actionv1.Refused, CodeReplayed)
	// What was refused for its target is used up too.
	gone := sign(t, request(actionv1.Kill, "node-1:"+e.boot[:8]+":1:2147483647:1"), newKey(0))
	r, _, _ := e.Decide(t.Context(), gone, 9)
	wantResult(t, r, actionv1.Refused, CodeNoTarget)
	r, _, _ = e.Decide(t.Context(), gone, 10)
	wantResult(t, r, actionv1.Refused, CodeReplayed)
	// After a restart nothing is known any more: what is older than it does not count.
	e, _ = newTest(t, policyText(everything, ""))
	e.started = time.Now()
	r, _, _ = e.Decide(t.Context(), message, 7)
	wantResult(t, r, actionv1.Refused, CodeBeforeStart)
}

// TestClockAhead: a request from a clock a little ahead waits until its time has come here.
func TestClockAhead(t *testing.T) {
	e, reports := newTest(t, policyText(everything, ""))
	req := request(actionv1.Kill, "node-1:"+e.boot[:8]+":1:2147483647:1")
	req.IssuedAt = time.Now().Add(5 * time.Second).UnixNano()
	message := sign(t, req, newKey(0))
	_, wait, ok := e.Decide(t.Context(), message, 1)
	if ok || wait <= 0 || wait > 5*time.Second || len(*reports) != 0 {
		t.Fatalf("wait %s, decided %t", wait, ok)
	}
	e.now = func() time.Time { return req.Issued().Add(time.Millisecond) }
	r, wait, ok := e.Decide(t.Context(), message, 1)
	if !ok || wait != 0 {
		t.Fatalf("wait %s, decided %t", wait, ok)
	}
	wantResult(t, r, actionv1.Refused, CodeNoTarget)
}

// TestFlood: messages that prove nothing get a bounded number of results, and do not use up what the policy allows.
func TestFlood(t *testing.T) {
	e, reports := newTest(t, policyText(everything, "  rate_limit: 2\n"))
	told := 0
	for range 3 * maxIdle {
		if _, _, ok := e.Decide(t.Context(), []byte("noise"), 1); ok {
			told++
		}
	}
	if told != maxIdle || len(*reports) != maxIdle {
		t.Errorf("%d results, %d reports, want %d", told, len(*reports), maxIdle)
	}
	target := "node-1:" + e.boot[:8] + ":1:2147483647:1"
	wantResult(t, ask(t, e, request(actionv1.Kill, target)), actionv1.Refused, CodeNoTarget)
	wantResult(t, ask(t, e, request(actionv1.Kill, target)), actionv1.Refused, CodeNoTarget)
	wantResult(t, ask(t, e, request(actionv1.Kill, target)), actionv1.Refused, CodeRateLimited)
	now := time.Now().Add(61 * time.Second)
	e.now = func() time.Time { return now }
	r := request(actionv1.Kill, target)
	r.IssuedAt, r.ExpiresAt = now.Add(-time.Second).UnixNano(), now.Add(time.Minute).UnixNano()
	wantResult(t, ask(t, e, r), actionv1.Refused, CodeNoTarget)
}

func FuzzDecide(f *testing.F) {
	r := request(actionv1.PauseContainer, "x")
	m, err := actionv1.Sign(&r, newKey(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m)
	p := &Policy{}
	if err := p.fromTest(newKey(0)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if req, key, err := authenticate(message, p); err == nil {
			t.Fatalf("%q is authentic: %+v by %s", message, req, key)
		} else if asProblem(err).status != actionv1.Refused {
			t.Fatal(err)
		}
	})
}

func (p *Policy) fromTest(k ed25519.PrivateKey) error {
	p.Keys = []Key{{Name: "ada"}}
	return p.Keys[0].PublicKey.UnmarshalText([]byte(public(k)))
}
