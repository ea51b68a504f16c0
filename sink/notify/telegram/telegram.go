// Package telegram sends messages through a Telegram bot.
package telegram

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
	API        string        `yaml:"api" doc:"the bot API"`
	Token      daemon.Secret `yaml:"token" doc:"token of the bot"`
	ChatID     string        `yaml:"chat_id" doc:"chat, as a number or @channel"`
	ThreadID   int           `yaml:"thread_id" doc:"topic of the chat; 0 means none"`
	web.Config `yaml:",inline"`
}

// Default uses Telegram's own API.
func Default() *Config { return &Config{API: "https://api.telegram.org"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("api", c.API), web.Required("token", c.Token.IsSet()), web.Required("chat_id", c.ChatID != ""), c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// maxText is the length of the text, in characters; Telegram takes 4096 UTF-16 units with the title.
const maxText = 1900

type message struct {
	ChatID   string `json:"chat_id"`
	ThreadID int    `json:"message_thread_id,omitempty"`
	Text     string `json:"text"`
	Preview  struct {
		Disabled bool `json:"is_disabled"`
	} `json:"link_preview_options"`
}

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
	return &web.Poster{Client: client, Failed: failed, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		m := message{ChatID: c.ChatID, ThreadID: c.ThreadID, Text: title + "\n" + text}
		m.Preview.Disabled = true
		body, err := json.Marshal(m)
		return web.Request{URL: c.API + "/bot" + token + "/sendMessage", Body: body}, err
	}}, nil
}

// failed finds the pause that Telegram asks for in the body.
func failed(answer []byte, err error) error {
	var v struct {
		Parameters struct {
			RetryAfter int `json:"retry_after"`
		} `json:"parameters"`
	}
	if json.Unmarshal(answer, &v) == nil && v.Parameters.RetryAfter > 0 {
		return &notify.RetryAfter{Err: err, After: time.Duration(min(v.Parameters.RetryAfter, 3600)) * time.Second}
	}
	return err
}
