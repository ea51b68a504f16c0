// Package pushover sends messages through Pushover.
package pushover

import (
	"errors"
	"net/url"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the messages API"`
	Token      daemon.Secret `yaml:"token" doc:"token of the application"`
	UserKey    daemon.Secret `yaml:"user_key" doc:"key of the user or group"`
	web.Config `yaml:",inline"`
}

// Default is Pushover's own API.
func Default() *Config { return &Config{URL: "https://api.pushover.net/1/messages.json"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), web.Required("token", c.Token.IsSet()), web.Required("user_key", c.UserKey.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

const (
	maxTitle = 250 // characters
	maxText  = 1024
)

// Open reads the keys.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	token, err := web.Secret("token", c.Token)
	if err != nil {
		return nil, err
	}
	user, err := web.Secret("user_key", c.UserKey)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(token, user)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		priority := "0" // 1 passes quiet hours
		if notify.Worst(batch).Alert.Priority <= alertv1.Critical {
			priority = "1"
		}
		form := url.Values{"token": {token}, "user": {user}, "title": {notify.Cut(title, maxTitle)}, "message": {text}, "priority": {priority}}
		return web.Request{URL: c.URL, Type: "application/x-www-form-urlencoded", Body: []byte(form.Encode())}, nil
	}}, nil
}
