package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Renderer makes the title and text of messages for people.
type Renderer struct {
	title, text *Template
	escape      func(string) string
}

// The templates of outputs that say nothing else.
const (
	DefaultTitle = `[{{.Severity}}] {{.Rule}}`
	DefaultText  = `{{.Output}}{{if .Repeats}} (and {{.Repeats}} more like it){{end}}
node {{.Node}}{{with .Namespace}}, pod {{.}}/{{$.Pod}}{{end}}{{with .Container}}, container {{.}}{{end}}{{with .User}}, user {{.}}{{end}}{{with .Tags}}
{{join " " .}}{{end}}`
)

// Renderer compiles the templates of the configuration, or the defaults of the output.
func (e Env) Renderer(title, text string, escape func(string) string) (*Renderer, error) {
	if e.Title != "" {
		title = e.Title
	}
	if e.Text != "" {
		text = e.Text
	}
	r := &Renderer{escape: escape}
	var err error
	if r.title, err = ParseTemplate("title", title); err != nil {
		return nil, err
	}
	if r.text, err = ParseTemplate("text", text); err != nil {
		return nil, err
	}
	return r, nil
}

// Title renders the title of a message on one line.
func (r *Renderer) Title(m *Message) (string, error) {
	s, err := r.title.Text(m, r.escape)
	return strings.Join(strings.Fields(s), " "), err
}

// Text renders the text of a message.
func (r *Renderer) Text(m *Message) (string, error) { return r.text.Text(m, r.escape) }

// Both renders title and text.
func (r *Renderer) Both(m *Message) (title, text string, err error) {
	if title, err = r.Title(m); err != nil {
		return "", "", err
	}
	text, err = r.Text(m)
	return title, text, err
}

// Digest renders a batch as one message of at most limit characters: of one alert its title and text, of more a
// count and the text of each. What does not fit is counted at the end.
func (r *Renderer) Digest(batch []Message, limit int) (title, text string, err error) {
	if len(batch) == 1 {
		title, text, err = r.Both(&batch[0])
		return Cut(title, 200), Cut(text, limit), err
	}
	const more = 40 // room for the count
	var b strings.Builder
	room := limit - more
	for i := range batch {
		t, x, err := r.Both(&batch[i])
		if err != nil {
			return "", "", err
		}
		one := Cut(t, 200) + "\n" + x
		if i == 0 {
			one = Cut(one, room)
		} else {
			one = "\n\n" + one
		}
		n := utf8.RuneCountInString(one)
		if n > room {
			fmt.Fprintf(&b, "\n\n… and %d more", len(batch)-i)
			break
		}
		room -= n
		b.WriteString(one)
	}
	return fmt.Sprintf("%d alerts", len(batch)), b.String(), nil
}

// Worst is the most severe message of a batch.
func Worst(batch []Message) *Message {
	w := &batch[0]
	for i := range batch {
		if batch[i].Alert.Priority < w.Alert.Priority {
			w = &batch[i]
		}
	}
	return w
}

// Color is the colour of a priority, as 0xRRGGBB.
func Color(p alertv1.Priority) int {
	switch {
	case p <= alertv1.Critical:
		return 0xb00020
	case p == alertv1.Error:
		return 0xe53935
	case p == alertv1.Warning:
		return 0xfb8c00
	case p == alertv1.Notice:
		return 0x1e88e5
	}
	return 0x9e9e9e
}

// BatchKey names a batch: the same alerts in the same order have the same key. Of one alert it is the alert's id.
func BatchKey(batch []Message) string {
	if len(batch) == 1 {
		return batch[0].Alert.ID.String()
	}
	h := sha256.New()
	for i := range batch {
		h.Write(batch[i].Alert.ID[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// EscapeMarkdown escapes what Markdown and mentions would interpret.
func EscapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune("\\`*_{}[]<>()#+|~", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '@':
			b.WriteString("@\u200b") // no mention
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
