package subject

import (
	"errors"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, node := range []string{"web-1", "web.example.com", "a b", "", "*", ">", "ü=x", "="} {
		s := Event("syscall", node)
		if strings.ContainsAny(strings.TrimPrefix(s, PrefixEvents), " *>") {
			t.Errorf("Event(%q) = %q holds a wildcard or a blank", node, s)
		}
		source, got, err := ParseEvent(s)
		if err != nil || got != node || source != "syscall" {
			t.Errorf("ParseEvent(%q) = %q, %q, %v; want syscall, %q", s, source, got, err, node)
		}
		if _, got, err = ParseEvent(Enriched("syscall", node)); err != nil || got != node {
			t.Errorf("ParseEvent(Enriched(%q)) = %q, %v", node, got, err)
		}
		p, r, n, err := ParseAlert(Alert("critical", "my.rule", node))
		if err != nil || p != "critical" || r != "my.rule" || n != node {
			t.Errorf("ParseAlert = %q %q %q %v", p, r, n, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "gyre", "gyre.events", "gyre.events.a", "gyre.events.a.b.c", "gyre.events.a.=2", "gyre.events.a.=ZZ", "gyre.alerts.a.b"} {
		if _, _, err := ParseEvent(s); err == nil {
			t.Errorf("ParseEvent(%q) accepted", s)
		}
	}
	if _, _, _, err := ParseAlert("gyre.alerts.a.b"); err == nil {
		t.Error("ParseAlert accepted two tokens")
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Signal(7, "r"), "gyre.signals.7.r"},
		{Dead("enricher"), "gyre.dead.enricher"},
		{Action("n.1"), "gyre.actions.n=2E1"},
		{ActionResult("n.1"), "gyre.actions_results.n=2E1"},
		{ResultFilter(""), "gyre.actions_results.*"},
		{ResultFilter("n.1"), "gyre.actions_results.n=2E1"},
		{All(PrefixEvents), "gyre.events.>"},
		{EventFilter(PrefixEnriched, "", "n"), "gyre.enriched.*.n"},
		{AlertFilter("", "r", ""), "gyre.alerts.*.r.*"},
		{FactHost("n.1"), "n=2E1.host"},
		{FactContainer("n", "abc"), "n.container.abc"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func TestFactContainer(t *testing.T) {
	for _, id := range []string{"3f1c", "my.machine", ""} {
		node, got, ok := ParseFactContainer(FactContainer("n.1", id))
		if !ok || node != Token("n.1") || got != id {
			t.Errorf("%q: %q %q %v", id, node, got, ok)
		}
	}
	for _, bad := range []string{"", "n.host", "n.container.", ".container.x", "a.b.container.x", "n.container.a.b", "n.container.=2"} {
		if _, _, ok := ParseFactContainer(bad); ok {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestParseSignal(t *testing.T) {
	if p, r, err := ParseSignal(Signal(63, "a.b")); p != 63 || r != "a.b" || err != nil {
		t.Error(p, r, err)
	}
	for _, s := range []string{"gyre.signals.64.r", "gyre.signals.x.r", "gyre.signals.1", "gyre.alerts.1.r", "gyre.signals.-1.r"} {
		if _, _, err := ParseSignal(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if got := SignalFilter(7); got != "gyre.signals.7.*" {
		t.Error(got)
	}
}
