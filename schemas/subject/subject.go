// Package subject builds and parses the NATS subject names and KV keys of the
// pipeline. It is pure string work: no NATS client is imported.
//
// A name that is not a legal subject token (a node called "web.example.com", a
// rule id with a space) is escaped: every byte outside [A-Za-z0-9_-] becomes
// "=XX" with two upper-case hexadecimal digits. The form is legal in subjects
// and in KV keys (the server allows [-/_=.a-zA-Z0-9] there) and is reversible.
package subject

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Subject prefixes; a stream holds everything under one of them.
const (
	PrefixEvents   = "gyre.events"
	PrefixEnriched = "gyre.enriched"
	PrefixSignals  = "gyre.signals"
	PrefixAlerts   = "gyre.alerts"
	PrefixDead     = "gyre.dead"
	PrefixActions  = "gyre.actions"
	PrefixResults  = "gyre.actions_results"
	PrefixChanges  = "gyre.changes"
	PrefixStored   = "gyre.stored"
)

// prefixControl is no stream's: who asks waits for the answer.
const prefixControl = "gyre.ctl.sink"

// ErrInvalid is returned when a subject does not have the expected shape.
var ErrInvalid = errors.New("invalid subject")

const upperHex = "0123456789ABCDEF"

// Token escapes s so that it is one legal subject token. The empty string becomes "=".
func Token(s string) string {
	if s == "" {
		return "="
	}
	clean := true
	for i := 0; i < len(s); i++ {
		if !plain(s[i]) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if plain(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('=')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
	}
	return b.String()
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// Untoken reverses [Token].
func Untoken(t string) (string, error) {
	if t == "=" {
		return "", nil
	}
	if !strings.Contains(t, "=") {
		return t, nil
	}
	out := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		if t[i] != '=' {
			out = append(out, t[i])
			continue
		}
		if i+3 > len(t) {
			return "", fmt.Errorf("%w: token %q ends inside an escape", ErrInvalid, t)
		}
		v, err := strconv.ParseUint(t[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%w: token %q has a bad escape", ErrInvalid, t)
		}
		out = append(out, byte(v))
		i += 2
	}
	return string(out), nil
}

// Event is the subject of raw batches: gyre.events.<source>.<node>.
func Event(source, node string) string { return join(PrefixEvents, source, node) }

// Enriched is the subject of enriched batches: gyre.enriched.<source>.<node>.
func Enriched(source, node string) string { return join(PrefixEnriched, source, node) }

// Signal is the subject of matches of correlation rules: gyre.signals.<partition>.<rule>.
func Signal(partition int, rule string) string {
	return join(PrefixSignals, strconv.Itoa(partition), rule)
}

// SignalPartitions is how many partitions the keys of correlation are spread over. It never changes: keys would move.
const SignalPartitions = 64

// SignalFilter matches the signals of one partition.
func SignalFilter(partition int) string {
	return PrefixSignals + "." + strconv.Itoa(partition) + ".*"
}

// ParseSignal splits a subject made by [Signal].
func ParseSignal(s string) (partition int, rule string, err error) {
	rest, ok := strings.CutPrefix(s, PrefixSignals+".")
	if !ok {
		return 0, "", fmt.Errorf("%w: %q is not under %s", ErrInvalid, s, PrefixSignals)
	}
	parts, err := split(s, rest, 2)
	if err != nil {
		return 0, "", err
	}
	if partition, err = strconv.Atoi(parts[0]); err != nil || partition < 0 || partition >= SignalPartitions {
		return 0, "", fmt.Errorf("%w: %q has no partition", ErrInvalid, s)
	}
	return partition, parts[1], nil
}

// Alert is the subject of alerts: gyre.alerts.<priority>.<rule>.<node>.
func Alert(priority, rule, node string) string { return join(PrefixAlerts, priority, rule, node) }

// Dead is the subject of what a stage could not process: gyre.dead.<stage>.
func Dead(stage string) string { return join(PrefixDead, stage) }

// Action is the subject of response requests to one node: gyre.actions.<node>.
func Action(node string) string { return join(PrefixActions, node) }

// ActionResult is the subject of what became of requests to one node: gyre.actions_results.<node>.
func ActionResult(node string) string { return join(PrefixResults, node) }

// ResultFilter matches results; an empty node matches any.
func ResultFilter(node string) string { return PrefixResults + "." + anyToken(node) }

// Change is where changes of a kind in clusters go.
func Change(kind string) string { return join(PrefixChanges, kind) }

// Stored is the subject of enriched batches that hold only the events to store: gyre.stored.<source>.<node>.
func Stored(source, node string) string { return join(PrefixStored, source, node) }

// Control is the subject of requests to whoever runs an output: gyre.ctl.sink.<output>.
func Control(output string) string { return join(prefixControl, output) }

// ControlState is the subject on which every sink tells the state of its outputs. It is not under [Control].
func ControlState() string { return prefixControl + "s" }

// ControlRules is the subject on which evaluators tell the rules that they have in force.
func ControlRules() string { return "gyre.ctl.evaluator.rules" }

// ControlReplay is the subject on which evaluators are asked to evaluate parts of the past.
func ControlReplay() string { return "gyre.ctl.evaluator.replay" }

// All matches every subject under a prefix: <prefix>.>.
func All(prefix string) string { return prefix + ".>" }

// EventFilter matches the batches of one prefix ([PrefixEvents] or
// [PrefixEnriched]); an empty source or node matches any.
func EventFilter(prefix, source, node string) string {
	return prefix + "." + anyToken(source) + "." + anyToken(node)
}

// AlertFilter matches alerts; an empty priority, rule or node matches any.
func AlertFilter(priority, rule, node string) string {
	return PrefixAlerts + "." + anyToken(priority) + "." + anyToken(rule) + "." + anyToken(node)
}

// FactHost is the key in the facts bucket of a node's own facts: <node>.host.
func FactHost(node string) string { return Token(node) + ".host" }

// CaptureFleet is the key in the config bucket of the capture policy for all nodes.
const CaptureFleet = "capture"

// Capture is the key in the config bucket of the capture policy of one node: capture.<node>.
func Capture(node string) string { return CaptureFleet + "." + Token(node) }

// FactContainer is the key in the facts bucket of one container: <node>.container.<id>.
func FactContainer(node, id string) string { return Token(node) + ".container." + Token(id) }

// ParseFactContainer splits a key made by [FactContainer] into the node's token and the id.
func ParseFactContainer(key string) (node, id string, ok bool) {
	node, token, ok := strings.Cut(key, ".container.")
	if !ok || node == "" || strings.ContainsAny(node, ".") || token == "" || strings.ContainsAny(token, ".") {
		return "", "", false
	}
	id, err := Untoken(token)
	return node, id, err == nil
}

// ParseEvent splits a subject made by [Event] or [Enriched] into source and node.
func ParseEvent(s string) (source, node string, err error) {
	rest, ok := strings.CutPrefix(s, PrefixEvents+".")
	if !ok {
		if rest, ok = strings.CutPrefix(s, PrefixEnriched+"."); !ok {
			return "", "", fmt.Errorf("%w: %q is not under %s or %s", ErrInvalid, s, PrefixEvents, PrefixEnriched)
		}
	}
	parts, err := split(s, rest, 2)
	if err != nil {
		return "", "", err
	}
	return parts[0], parts[1], nil
}

// ParseAlert splits a subject made by [Alert].
func ParseAlert(s string) (priority, rule, node string, err error) {
	rest, ok := strings.CutPrefix(s, PrefixAlerts+".")
	if !ok {
		return "", "", "", fmt.Errorf("%w: %q is not under %s", ErrInvalid, s, PrefixAlerts)
	}
	parts, err := split(s, rest, 3)
	if err != nil {
		return "", "", "", err
	}
	return parts[0], parts[1], parts[2], nil
}

func split(whole, rest string, n int) ([]string, error) {
	parts := strings.Split(rest, ".")
	if len(parts) != n {
		return nil, fmt.Errorf("%w: %q has %d tokens after its prefix, want %d", ErrInvalid, whole, len(parts), n)
	}
	for i, p := range parts {
		u, err := Untoken(p)
		if err != nil {
			return nil, err
		}
		parts[i] = u
	}
	return parts, nil
}

func anyToken(s string) string {
	if s == "" {
		return "*"
	}
	return Token(s)
}

func join(prefix string, tokens ...string) string {
	n := len(prefix)
	for _, t := range tokens {
		n += 1 + len(t)
	}
	var b strings.Builder
	b.Grow(n)
	b.WriteString(prefix)
	for _, t := range tokens {
		b.WriteByte('.')
		b.WriteString(Token(t))
	}
	return b.String()
}
