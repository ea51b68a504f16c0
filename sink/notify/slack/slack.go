// Package slack posts to incoming webhooks of Slack, and of Mattermost and Rocket.Chat, which read the same form.
package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the webhook's URL, which is a secret"`
	Channel    string        `yaml:"channel" doc:"channel instead of the webhook's own, where the service allows it"`
	Username   string        `yaml:"username" doc:"name to post under, where the service allows it"`
	Icon       string        `yaml:"icon" doc:"URL of a picture, where the service allows it"`
	web.Config `yaml:",inline"`

	escape func(string) string
}

// Slack is the form of Slack.
func Slack() *Config { return &Config{escape: escapeSlack} }

// Markdown is the form of Mattermost and Rocket.Chat.
func Markdown() *Config { return &Config{escape: notify.EscapeMarkdown} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one post.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// maxText is the length of a post, in characters.
const maxText = 3000

type attachment struct {
	Fallback string  `json:"fallback"`
	Color    string  `json:"color"`
	Title    string  `json:"title"`
	Text     string  `json:"text"`
	Fields   []field `json:"fields,omitempty"`
	TS       int64   `json:"ts"`
}

type field struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

type post struct {
	Text        string       `json:"text,omitempty"`
	Channel     string       `json:"channel,omitempty"`
	Username    string       `json:"username,omitempty"`
	Icon        string       `json:"icon_url,omitempty"`
	Attachments []attachment `json:"attachments"`
}

// Open reads the URL.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	url, err := web.SecretURL("url", c.URL)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, c.escape)
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
		w := notify.Worst(batch)
		a := attachment{Fallback: title, Title: title, Text: text, Color: fmt.Sprintf("#%06x", notify.Color(w.Alert.Priority)), TS: w.Alert.When().Unix()}
		if len(batch) == 1 {
			a.Fields = []field{{"Priority", c.escape(w.Severity), true}, {"Node", c.escape(notify.Cut(notify.Clean(w.Alert.Node), 100)), true}}
		}
		body, err := json.Marshal(post{Channel: c.Channel, Username: c.Username, Icon: c.Icon, Attachments: []attachment{a}})
		return web.Request{URL: url, Body: body}, err
	}}, nil
}

// escapeSlack escapes the three characters that Slack gives a meaning to.
func escapeSlack(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
