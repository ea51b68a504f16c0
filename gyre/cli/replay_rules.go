package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// Names of rule sets that are no files.
const (
	rulesCurrent = "current"
	rulesBuiltin = "builtin"
)

// ruleSet makes a rule set of names, one over the other: files, directories, "current", "builtin", or the digest of the set in force.
func ruleSet(ctx context.Context, b *bus.Bus, names []string, s *replaySpec) (*ruleset.Set, *evaluator.Bundle, error) {
	bundle := &evaluator.Bundle{Builtin: !s.NoBuiltin, AllFalco: s.AllFalco, MaxRules: 100_000}
	for i, name := range names {
		switch {
		case name == rulesBuiltin:
			bundle.Builtin = true
		case name == rulesCurrent || strings.HasPrefix(name, "sha256:"):
			if i > 0 {
				return nil, nil, fmt.Errorf("%s must be the first of the rule sets", name)
			}
			current, err := currentRules(ctx, b)
			if err != nil {
				return nil, nil, err
			}
			if name != rulesCurrent && current.Digest != name {
				return nil, nil, daemon.Hint(fmt.Errorf("the rules in force are %s, not %s", current.Digest, name), "name the files of the other set")
			}
			bundle = current
		default:
			if err := bundle.Add(name); err != nil {
				return nil, nil, err
			}
		}
	}
	set, err := bundle.Compile(ruleset.Options{SampleEvery: -1})
	if err != nil {
		return nil, nil, err
	}
	if len(set.Rules()) == 0 {
		return nil, nil, fmt.Errorf("there is no rule in %s", strings.Join(names, ", "))
	}
	return set, bundle, nil
}

func currentRules(ctx context.Context, b *bus.Bus) (*evaluator.Bundle, error) {
	if b == nil {
		return nil, daemon.Hint(errors.New("the current rules are those of running evaluators, and there is no connection to them"), "name rule files with --rules, or the instance with --data-dir or --nats")
	}
	bundle, err := evaluator.CurrentRules(ctx, b)
	if errors.Is(err, bus.ErrNobody) {
		err = daemon.Hint(errors.New("no evaluator is running that could tell the current rules"), "start one, or name rule files with --rules")
	}
	return bundle, err
}
