package action

import (
	"errors"
	"time"

	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// authenticate reads a message and proves who signed it; it returns what the policy calls the key. The request is
// what the message claims, also with an error.
func authenticate(message []byte, policy *Policy) (actionv1.Request, string, error) {
	env, err := actionv1.Open(message)
	var req actionv1.Request
	if err == nil {
		req, err = actionv1.Unmarshal(env.Body)
	}
	if err != nil {
		if errors.Is(err, actionv1.ErrTooLarge) {
			return req, "", refuse(CodeOversized, "%v", err)
		}
		return req, "", refuse(CodeMalformed, "%v", err)
	}
	if len(env.Signature) == 0 {
		return req, "", refuse(CodeUnsigned, "%v", actionv1.ErrUnsigned)
	}
	key := policy.key(req.KeyID)
	if key == nil {
		return req, "", refuse(CodeUnknownKey, "the policy of this node trusts no key %q", clip(req.KeyID))
	}
	if err := env.Verify(key.PublicKey.key); err != nil {
		return req, "", refuse(CodeBadSignature, "%v", err)
	}
	return req, key.Name, nil
}

// maxSkew is how far the clock of who signs may be ahead of ours. The request waits until its time has come here too:
// so no accepted request is younger than a restart that follows it.
const maxSkew = 10 * time.Second

// admit checks what an authentic request says of itself. A wait means that it is valid soon.
func (e *Executor) admit(r *actionv1.Request, now time.Time) (wait time.Duration, err error) {
	if err := r.Validate(); err != nil {
		return 0, refuse(CodeInvalid, "%v", err)
	}
	if r.Node != e.cfg.Node {
		return 0, refuse(CodeForeignNode, "it is for node %q, this is %q", r.Node, e.cfg.Node)
	}
	ahead := time.Duration(r.IssuedAt - now.UnixNano())
	switch {
	case now.UnixNano() >= r.ExpiresAt:
		return 0, refuse(CodeExpired, "it expired at %s, %s ago", r.Expires().Format(time.RFC3339), now.Sub(r.Expires()).Round(time.Millisecond))
	case ahead > maxSkew:
		return 0, refuse(CodeNotYetValid, "it is valid from %s, in %s: compare the clocks", r.Issued().Format(time.RFC3339), ahead.Round(time.Millisecond))
	case ahead > 0:
		return ahead, nil
	case r.IssuedAt < e.started.UnixNano():
		return 0, refuse(CodeBeforeStart, "it was issued before the collector started at %s, which may have carried it out before: send a new one", e.started.UTC().Format(time.RFC3339))
	}
	return 0, nil
}

// redelivery is how long after its end a request's result is kept, for the same message delivered again.
const redelivery = time.Minute

// maxSeen bounds the requests that are remembered; only holders of trusted keys can fill it.
const maxSeen = 1 << 13

// decided is a request that was accepted for a decision.
type decided struct {
	seq     uint64
	digest  actionv1.Digest
	expires int64
	result  actionv1.Result
	done    bool
}

// seen remembers authentic requests until they expire. It belongs to one goroutine.
type seen struct{ byID map[actionv1.ID]decided }

// find returns the result of the same message, delivered before.
func (s *seen) find(id actionv1.ID, seq uint64, digest actionv1.Digest) (actionv1.Result, bool) {
	d, ok := s.byID[id]
	return d.result, ok && d.done && d.seq == seq && d.digest == digest
}

// add remembers a request, or refuses one that is known.
func (s *seen) add(r *actionv1.Request, seq uint64, digest actionv1.Digest, now time.Time) error {
	if _, ok := s.byID[r.ID]; ok {
		return refuse(CodeReplayed, "a request with this id was decided before; it counts once")
	}
	for id, d := range s.byID {
		if d.expires+int64(redelivery) <= now.UnixNano() {
			delete(s.byID, id)
		}
	}
	if len(s.byID) >= maxSeen {
		return refuse(CodeBusy, "%d requests are remembered until they expire: that is all there is room for", maxSeen)
	}
	s.byID[r.ID] = decided{seq: seq, digest: digest, expires: r.ExpiresAt}
	return nil
}

// conclude remembers the result of the request that [seen.add] accepted.
func (s *seen) conclude(id actionv1.ID, r actionv1.Result) {
	if d, ok := s.byID[id]; ok && !d.done && d.digest == r.Digest {
		d.result, d.done = r, true
		s.byID[id] = d
	}
}

// limiter counts what happened in the last minute. It belongs to one goroutine.
type limiter struct{ at []time.Time }

// allow tells whether one more is within the limit, and counts it if so.
func (l *limiter) allow(now time.Time, limit int) bool {
	n := 0
	for _, t := range l.at {
		if age := now.Sub(t); age < time.Minute && age >= 0 {
			l.at[n] = t
			n++
		}
	}
	if l.at = l.at[:n]; n >= limit {
		return false
	}
	l.at = append(l.at, now)
	return true
}
