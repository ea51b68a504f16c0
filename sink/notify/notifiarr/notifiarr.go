// Package notifiarr sends notifications to a Discord channel through Notifiarr's passthrough integration.
package notifiarr

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the passthrough API, without the key"`
	APIKey     daemon.Secret `yaml:"api_key" doc:"key of the API"`
	AppName    string        `yaml:"app_name" doc:"name of the program, as Notifiarr lists it"`
	Channel    int64         `yaml:"channel" doc:"id of the Discord channel"`
	web.Config `yaml:",inline"`
}

// Default is Notifiarr's own API, and the program gyre.
func Default() *Config {
	return &Config{URL: "https://notifiarr.com/api/v1/notification/passthrough", AppName: "gyre"}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var channel error
	if c.Channel <= 0 {
		channel = fmt.Errorf("channel is %d, want the id of a Discord channel", c.Channel)
	}
	return errors.Join(web.CheckURL("url", c.URL), web.Required("api_key", c.APIKey.IsSet()), web.Required("app_name", c.AppName != ""), channel, c.Config.Validate())
}

// Batch puts what comes together into one embed.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// Limits of an embed, in characters; Discord counts UTF-16 units, hence half.
const (
	maxTitle = 120
	maxText  = 2000
)

// passthrough is the request.
type passthrough struct {
	Notification notification `json:"notification"`
	Discord      discord      `json:"discord"`
}

type notification struct {
	Update bool   `json:"update"`
	Name   string `json:"name"`
	Event  string `json:"event"`
}

type discord struct {
	Color string `json:"color"`
	Text  text   `json:"text"`
	IDs   ids    `json:"ids"`
}

type text struct {
	Title       string `json:"title"`
	Description string `json:"description"`
}

type ids struct {
	Channel int64 `json:"channel"`
}

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
	client, err := c.New(key)
	if err != nil {
		return nil, err
	}
	target := strings.TrimRight(c.URL, "/") + "/" + url.PathEscape(key)
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		title, description, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(passthrough{
			notification{Name: c.AppName, Event: notify.BatchKey(batch)},
			discord{fmt.Sprintf("%06X", notify.Color(notify.Worst(batch).Alert.Priority)), text{notify.Cut(title, maxTitle), description}, ids{c.Channel}},
		})
		return web.Request{URL: target, Body: body}, err
	}}, nil
}

// check reads an answer with a good status, which may say that it is none.
func check(answer []byte, _ []notify.Message) error {
	var a struct {
		Result string `json:"result"`
	}
	if json.Unmarshal(answer, &a) == nil && a.Result == "error" {
		return daemon.Hint(fmt.Errorf("the service answers: %s", notify.Cut(notify.Clean(string(answer)), 200)), "check api_key, channel, and that the passthrough integration is enabled")
	}
	return nil
}
