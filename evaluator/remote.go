package evaluator

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

var (
	errStale   = errors.New("rule set is older than one that was accepted")
	errDeleted = errors.New("rule set was deleted, which nobody signs")
)

// remote is what the bucket holds under the name of the rule set: files, or why they are not used.
type remote struct {
	files    []input
	name     string // of the version: NAME@sha256:DIGEST, "" if there is none
	revision uint64
	signer   string // id of the key whose signature was verified
	err      error
}

// remoteFrom reads a revision of the key. With keys only what one of them has signed is accepted, and nothing that is
// older than newest, which is when the newest set accepted so far was pushed: an old one could be put back by who
// can write to the bucket without a key.
func remoteFrom(x bus.Entry, keys []ed25519.PublicKey, newest *int64) remote {
	r := remote{revision: x.Revision}
	refuse := func(err error) remote {
		r.err = fmt.Errorf("rule set %s, revision %d: %w", x.Key, x.Revision, err)
		return r
	}
	switch {
	case x.Deleted && len(keys) > 0 && *newest > 0:
		return refuse(errDeleted)
	case x.Deleted:
		return r
	case len(x.Value) > 0 && x.Value[0]&0xf0 != 0x90: // no msgpack array: a rule file put there by hand
		if len(keys) > 0 {
			return refuse(rulesv1.ErrUnsigned)
		}
		s := rulesv1.Set{Files: []rulesv1.File{{Name: x.Key, Data: x.Value}}}
		r.name, r.files = x.Key+"@"+s.Digest(), []input{{"kv:" + x.Key, layerKV, x.Value}}
		return r
	}
	doc, err := rulesv1.Open(x.Value)
	if err != nil {
		return refuse(err)
	}
	if doc.Name != x.Key {
		return refuse(fmt.Errorf("%w: it was made as rule set %q", rulesv1.ErrInvalid, doc.Name))
	}
	if len(keys) > 0 {
		if err := doc.Verify(keys); err != nil {
			return refuse(err)
		}
		if doc.Pushed < *newest {
			return refuse(errStale)
		}
		r.signer, *newest = doc.KeyID, doc.Pushed
	}
	r.name, r.files = x.Key+"@"+doc.Digest(), setInputs("kv:"+x.Key+"/", layerKV, doc.Files)
	return r
}

// ParseSet reads and parses the files of a rule set as evaluators do that have no settings for Falco files.
func ParseSet(files []rulesv1.File) ([]rule.File, []falco.Issue, error) {
	return parse(setInputs("", layerKV, files), falco.Options{})
}

func setInputs(prefix string, layer int, files []rulesv1.File) []input {
	in := make([]input, len(files))
	for i, f := range files {
		in[i] = input{prefix + f.Name, layer, f.Data}
	}
	return in
}

// reason names, for a metric, why a load was refused.
func reason(err error) string {
	for _, r := range []struct {
		err  error
		name string
	}{{rulesv1.ErrUnsigned, "unsigned"}, {rulesv1.ErrSignature, "signature"}, {errStale, "stale"}, {errDeleted, "deleted"}, {rulesv1.ErrMalformed, "malformed"}, {rulesv1.ErrInvalid, "malformed"}, {rulesv1.ErrTooLarge, "malformed"}} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "rules"
}

// watchKV keeps the rule set of the bucket; current is called when what is there has been read.
func (e *Evaluator) watchKV(ctx context.Context, current func()) error {
	kv, err := e.bus.KV(ctx, e.cfg.KV)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", e.cfg.KV, err)
	}
	keys, err := e.cfg.keys()
	if err != nil {
		return err
	}
	ready, newest := false, int64(0)
	err = kv.Watch(ctx, e.cfg.RuleSet, func(x bus.Entry) {
		r := remoteFrom(x, keys, &newest)
		e.mu.Lock()
		e.remote = r
		e.mu.Unlock()
		if ready {
			e.poke()
		}
	}, func() {
		ready = true
		current()
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch bucket %s: %w", e.cfg.KV, err)
	}
	return nil
}
