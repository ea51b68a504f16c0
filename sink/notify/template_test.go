package notify_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestTemplate(t *testing.T) {
	m := notifytest.Message()
	for _, tt := range []struct{ text, want string }{
		{"{{.Rule}} {{.Priority}}", "Read sensitive file critical"},
		{`{{field "proc.name" .}} {{index .Fields "proc.pid"}} {{index .Fields "none"}}|`, "cat 7 |"},
		{`{{upper .Node}} {{join "," .Tags}} {{default "-" .LoginUser}} {{truncate 3 .Rule}}`, "NODE-1 host,T1003 - Re…"},
		{`{{json .Rule}} {{date "2006" .Time}} {{replace "a" "b" "aa"}} {{contains "x" "axb"}} {{has_prefix "n" .Node}} {{trim " x "}} {{lower "X"}}`, `"Read sensitive file" 2026 bb true true x x`},
		{"{{.Output}}", "cat \ufffd\ufffd[2J <b>*read*</b> @everyone `x` /etc/shadow"},
	} {
		c, err := notify.ParseTemplate("t", tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Text(&m, nil); err != nil || got != tt.want {
			t.Errorf("%s gives %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
	for _, bad := range []string{"{{", "{{.Nope}}", "{{nope}}", `{{range $i := .Nope}}{{end}}`} {
		if _, err := notify.ParseTemplate("t", bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// TestEscapeSparesTheTemplate: what was seen is escaped, the template's own markup is not.
func TestEscapeSparesTheTemplate(t *testing.T) {
	c, err := notify.ParseTemplate("t", "**{{.Rule}}** {{.Output}}")
	if err != nil {
		t.Fatal(err)
	}
	m := notifytest.Message()
	got, err := c.Text(&m, notify.EscapeMarkdown)
	if err != nil || !strings.HasPrefix(got, "**Read sensitive file** ") || strings.Contains(got, "<b>") || strings.Contains(got, " @everyone") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDigest(t *testing.T) {
	r, err := notify.Env{}.Renderer("{{.Rule}}", "{{.Output}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	msg := func(out string) notify.Message {
		return notify.Message{Alert: &alertv1.Alert{Rule: "R", Output: out}}
	}
	title, text, err := r.Digest([]notify.Message{msg("a"), msg("b")}, 1000)
	if err != nil || title != "2 alerts" || text != "R\na\n\nR\nb" {
		t.Errorf("%q %q %v", title, text, err)
	}
	_, text, err = r.Digest([]notify.Message{msg(strings.Repeat("é", 60)), msg(strings.Repeat("b", 60)), msg("c")}, 120)
	if err != nil || !strings.HasSuffix(text, "… and 2 more") || utf8.RuneCountInString(text) > 120 {
		t.Errorf("%q %v", text, err)
	}
}

func FuzzCut(f *testing.F) {
	f.Add("aé日\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 3 || n > 1000 {
			return
		}
		c := notify.Clean(s)
		if got := notify.Cut(c, n); utf8.RuneCountInString(got) > n || !utf8.ValidString(got) {
			t.Errorf("Cut(%q, %d) = %q", c, n, got)
		}
		if got := notify.CutBytes(c, n); len(got) > n || !utf8.ValidString(got) {
			t.Errorf("CutBytes(%q, %d) = %q", c, n, got)
		}
	})
}
