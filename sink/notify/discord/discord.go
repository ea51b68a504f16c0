// Package discord posts embeds to a Discord webhook.
package discord

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the webhook's URL, which is a secret"`
	Username   string        `yaml:"username" doc:"name to post under"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one embed.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// Limits of an embed, in characters; Discord counts UTF-16 units, hence half.
const (
	maxTitle = 120
	maxText  = 2000
)

type embed struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Color       int    `json:"color"`
	Timestamp   string `json:"timestamp"`
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
		w := notify.Worst(batch)
		body, err := json.Marshal(map[string]any{
			"username": c.Username, "allowed_mentions": map[string]any{"parse": []string{}},
			"embeds": []embed{{notify.Cut(title, maxTitle), text, notify.Color(w.Alert.Priority), w.Alert.When().Format(time.RFC3339Nano)}},
		})
		return web.Request{URL: url, Body: body}, err
	}}, nil
}
