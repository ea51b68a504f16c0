package evaluator

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Bundle is everything that a rule set is made of: compiled elsewhere it is the same set, with the same digest.
type Bundle struct {
	// Digest is that of the set; "" if it was never compiled.
	Digest  string       `json:"digest,omitempty"`
	Builtin bool         `json:"builtin"`
	Files   []BundleFile `json:"files"`
	// Falco is how rules of Falco files are read.
	Falco falco.Options `json:"falco"`
	// AllFalco lets each matching rule from Falco files count, not just the first one.
	AllFalco bool `json:"all_falco"`
	MaxRules int  `json:"max_rules"`
}

// BundleFile is a rule file. What a higher layer defines replaces the same name in lower ones.
type BundleFile struct {
	Name  string `json:"name"`
	Layer int    `json:"layer"`
	Data  []byte `json:"data"`
}

// bundleOf keeps what the set in force was made of.
func (e *Evaluator) bundleOf(in []input, digest string) *Bundle {
	o, _ := e.cfg.falco() // Validate has checked it
	b := &Bundle{Digest: digest, Builtin: e.cfg.Builtin, Falco: o, AllFalco: e.cfg.FalcoMatching == matchAll, MaxRules: e.cfg.MaxRules}
	for _, x := range in {
		b.Files = append(b.Files, BundleFile{x.name, x.layer, x.data})
	}
	return b
}

// Add puts rule files and directories of them over the bundle, one layer for each path.
func (b *Bundle) Add(paths ...string) error {
	layer := layerKV
	for _, f := range b.Files {
		layer = max(layer, f.Layer)
	}
	for _, p := range paths {
		layer++
		in, err := readPath(p, layer)
		if err != nil {
			return err
		}
		for _, x := range in {
			b.Files = append(b.Files, BundleFile{x.name, x.layer, x.data})
		}
	}
	b.Digest = ""
	return nil
}

// Compile makes the set. A set with another digest than the bundle's is an error.
func (b *Bundle) Compile(o ruleset.Options) (*ruleset.Set, error) {
	in := make([]input, len(b.Files))
	for i, f := range b.Files {
		in[i] = input{f.Name, f.Layer, f.Data}
	}
	files, _, err := parse(in, b.Falco)
	if err != nil {
		return nil, err
	}
	if b.Builtin {
		shipped, err := rules.Files()
		if err != nil {
			return nil, err
		}
		files = append(files, shipped...)
	}
	o.MaxRules = b.MaxRules
	set, err := ruleset.Compile(files, o)
	if err == nil && b.Digest != "" && set.Digest() != b.Digest {
		err = daemon.Hint(fmt.Errorf("the rules give the digest %s here, %s where they are in force", set.Digest(), b.Digest), "use the release of gyre that the evaluators run")
	}
	return set, err
}

// CurrentRules asks the evaluators for the rules that they have in force. It returns [bus.ErrNobody] when none runs.
func CurrentRules(ctx context.Context, b *bus.Bus) (*Bundle, error) {
	data, err := b.Ask(ctx, subject.ControlRules(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the evaluators for their rules: %w", err)
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<28))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	defer z.Close()
	var out Bundle
	if data, err = z.DecodeAll(data, nil); err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("read the evaluators' rules: %w", err)
	}
	return &out, nil
}

// answer tells who asks the rules in force, until ctx ends.
func (e *Evaluator) answer(ctx context.Context) error {
	return e.bus.Answer(ctx, subject.ControlRules(), Durable, func(context.Context, []byte) ([]byte, error) {
		data, err := json.Marshal(e.bundle.Load())
		if err != nil {
			return nil, err
		}
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		packed := z.EncodeAll(data, nil)
		if limit := e.bus.MaxPayload(); limit > 0 && len(packed) > limit {
			return nil, fmt.Errorf("the rules in force are %d bytes compressed, the server takes %d: name the files instead", len(packed), limit)
		}
		return packed, z.Close()
	})
}
