// Package ntfy publishes messages to an ntfy topic.
package ntfy

import (
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the server"`
	Topic      string        `yaml:"topic" doc:"topic"`
	Token      daemon.Secret `yaml:"token" doc:"access token, if the topic asks for one"`
	web.Config `yaml:",inline"`
}

// Default is the public server.
func Default() *Config { return &Config{URL: "https://ntfy.sh"} }

var topicForm = regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	var topic error
	if !topicForm.MatchString(c.Topic) {
		topic = errors.New("topic is not set, or not of letters, digits, - and _")
	}
	return errors.Join(web.CheckURL("url", c.URL), topic, c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

const maxText = 3800 // bytes; the server takes 4096

// Open reads the token.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	token, err := c.Token.Resolve()
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
	header := map[string]string{}
	if token != "" {
		header["Authorization"] = "Bearer " + token
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(map[string]any{"topic": c.Topic, "title": title, "message": notify.CutBytes(text, maxText), "priority": priority(notify.Worst(batch).Alert.Priority), "tags": []string{"rotating_light"}})
		return web.Request{URL: c.URL, Body: body, Header: header}, err
	}}, nil
}

// priority is 5 (the highest) to 2.
func priority(p alertv1.Priority) int {
	switch {
	case p <= alertv1.Critical:
		return 5
	case p == alertv1.Error:
		return 4
	case p <= alertv1.Notice:
		return 3
	}
	return 2
}
