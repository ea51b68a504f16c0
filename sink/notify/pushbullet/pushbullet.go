// Package pushbullet sends notes through Pushbullet.
package pushbullet

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
	URL        string        `yaml:"url" doc:"the API for pushes"`
	Token      daemon.Secret `yaml:"token" doc:"access token"`
	Channel    string        `yaml:"channel" doc:"tag of a channel; empty for the account's own devices"`
	web.Config `yaml:",inline"`
}

// Default is Pushbullet's own API.
func Default() *Config { return &Config{URL: "https://api.pushbullet.com/v2/pushes"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), web.Required("token", c.Token.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one note.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

const maxText = 2000 // characters

type note struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Body    string `json:"body"`
	GUID    string `json:"guid"`
	Channel string `json:"channel_tag,omitempty"`
}

// Open reads the token.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	token, err := web.Secret("token", c.Token)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(token)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(note{"note", title, text, notify.BatchKey(batch), c.Channel})
		return web.Request{URL: c.URL, Body: body, Header: map[string]string{"Access-Token": token}}, err
	}}, nil
}
