// Package googlechat posts to a webhook of a Google Chat space.
package googlechat

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the webhook's URL with its key and token, which is a secret"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one post.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// maxText is the length of the text, in characters; the service takes 4096 with the title.
const maxText = 3500

// Open reads the URL.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	url, err := web.SecretURL("url", c.URL)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, escape)
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
		body, err := json.Marshal(map[string]string{"text": "*" + title + "*\n" + text})
		return web.Request{URL: url, Type: "application/json; charset=UTF-8", Body: body}, err
	}}, nil
}

// escape breaks up what would be a mention, a link or bold: the service knows no escapes.
func escape(s string) string {
	return strings.NewReplacer("<", "<\u200b", "*", "*\u200b", "_", "_\u200b", "`", "`\u200b", "~", "~\u200b").Replace(s)
}
