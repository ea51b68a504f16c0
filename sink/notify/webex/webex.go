// Package webex sends messages to a Webex room.
package webex

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
	URL        string        `yaml:"url" doc:"the messages API"`
	Token      daemon.Secret `yaml:"token" doc:"token of the bot"`
	Room       string        `yaml:"room" doc:"id of the room"`
	web.Config `yaml:",inline"`
}

// Default is Webex's own API.
func Default() *Config { return &Config{URL: "https://webexapis.com/v1/messages"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), web.Required("token", c.Token.IsSet()), web.Required("room", c.Room != ""), c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

const maxText = 7000 // bytes; the service takes 7439

// Open reads the token.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	token, err := web.Secret("token", c.Token)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil) // plain text needs no escapes
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
		body, err := json.Marshal(map[string]string{"roomId": c.Room, "text": notify.CutBytes(title+"\n"+text, maxText)})
		return web.Request{URL: c.URL, Body: body, Header: map[string]string{"Authorization": "Bearer " + token}}, err
	}}, nil
}
