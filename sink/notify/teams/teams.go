// Package teams posts adaptive cards to a Microsoft Teams workflow ("Post to a channel when a webhook request is received").
package teams

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the workflow's URL, which is a secret"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one card.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// maxText is the length of a card's text, in characters: a card takes 28 KB, a character up to four bytes.
const maxText = 5000

type block struct {
	Type   string `json:"type"`
	Text   string `json:"text,omitempty"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Color  string `json:"color,omitempty"`
	Wrap   bool   `json:"wrap,omitempty"`
	Facts  []fact `json:"facts,omitempty"`
}

type fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

// Open reads the URL.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	url, err := web.SecretURL("url", c.URL)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, notify.EscapeMarkdown)
	if err != nil {
		return nil, err
	}
	client, err := c.New(url)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(card(title, text, batch))
		return web.Request{URL: url, Body: body}, err
	}}, nil
}

func card(title, text string, batch []notify.Message) any {
	w := notify.Worst(batch)
	color := "default"
	switch {
	case w.Alert.Priority <= alertv1.Error:
		color = "attention"
	case w.Alert.Priority == alertv1.Warning:
		color = "warning"
	}
	blocks := []block{{Type: "TextBlock", Text: title, Weight: "bolder", Size: "medium", Color: color, Wrap: true}, {Type: "TextBlock", Text: text, Wrap: true}}
	if len(batch) == 1 {
		blocks = append(blocks, block{Type: "FactSet", Facts: []fact{
			{"Priority", w.Severity}, {"Node", notify.Cut(notify.EscapeMarkdown(notify.Clean(w.Alert.Node)), 200)}, {"Time", w.Alert.When().Format(time.RFC3339)},
		}})
	}
	type content struct {
		Schema  string  `json:"$schema"`
		Type    string  `json:"type"`
		Version string  `json:"version"`
		Body    []block `json:"body"`
	}
	type attachment struct {
		ContentType string  `json:"contentType"`
		Content     content `json:"content"`
	}
	return struct {
		Type        string       `json:"type"`
		Attachments []attachment `json:"attachments"`
	}{"message", []attachment{{"application/vnd.microsoft.card.adaptive", content{"http://adaptivecards.io/schemas/adaptive-card.json", "AdaptiveCard", "1.4", blocks}}}}
}
