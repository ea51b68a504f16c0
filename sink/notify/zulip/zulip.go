// Package zulip sends messages to a channel of a Zulip server.
package zulip

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the server"`
	Email      string        `yaml:"email" doc:"address of the bot"`
	APIKey     daemon.Secret `yaml:"api_key" doc:"key of the bot"`
	Channel    string        `yaml:"channel" doc:"channel (stream)"`
	Topic      string        `yaml:"topic" doc:"template of the topic"`
	web.Config `yaml:",inline"`
}

// Default has a topic for each rule.
func Default() *Config { return &Config{Topic: "{{.Rule}}"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	_, err := notify.ParseTemplate("topic", c.Topic)
	return errors.Join(web.CheckURL("url", c.URL), web.Required("email", c.Email != ""), web.Required("api_key", c.APIKey.IsSet()), web.Required("channel", c.Channel != ""), err, c.Config.Validate())
}

const (
	maxTopic = 60 // characters
	maxText  = 9000
)

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("api_key", c.APIKey)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, notify.EscapeMarkdown)
	if err != nil {
		return nil, err
	}
	topic, err := notify.ParseTemplate("topic", c.Topic)
	if err != nil {
		return nil, err
	}
	client, err := c.New(key)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		about, err := topic.Text(&batch[0], nil)
		if err != nil {
			return web.Request{}, err
		}
		form := url.Values{"type": {"stream"}, "to": {c.Channel}, "topic": {notify.Cut(strings.Join(strings.Fields(about), " "), maxTopic)}, "content": {"**" + title + "**\n" + text}}
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/api/v1/messages", Type: "application/x-www-form-urlencoded", Body: []byte(form.Encode()), User: c.Email, Password: key}, nil
	}}, nil
}

// Batch sends each alert to its topic.
func (*Config) Batch() (int, time.Duration) { return 1, 0 }
