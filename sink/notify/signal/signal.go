// Package signal sends messages with Signal, through the REST API of signal-cli.
package signal

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
	URL        string        `yaml:"url" doc:"signal-cli-rest-api, such as http://signal:8080"`
	Number     string        `yaml:"number" doc:"registered number that sends, as +491234567"`
	Recipients []string      `yaml:"recipients" doc:"numbers, user names or group.… ids"`
	User       string        `yaml:"user" doc:"user, if a proxy in front asks for one"`
	Password   daemon.Secret `yaml:"password" doc:"password for the proxy"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), web.Required("number", c.Number != ""), web.Required("recipients", len(c.Recipients) > 0), c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

const maxText = 1900 // characters; longer ones become attachments

// Open reads the password.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(password)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		// text_mode normal: nothing in the message is markup.
		body, err := json.Marshal(map[string]any{"message": title + "\n" + text, "number": c.Number, "recipients": c.Recipients, "text_mode": "normal"})
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/v2/send", Body: body, User: c.User, Password: password}, err
	}}, nil
}
