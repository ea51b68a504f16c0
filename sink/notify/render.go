package notify

import "strings"

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
