// Package wecom posts to a group robot of WeCom (WeChat Work).
package wecom

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the robot's URL with its key, which is a secret"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one message: a robot takes 20 in a minute.
func (*Config) Batch() (int, time.Duration) { return 10, 3 * time.Second }

const maxText = 2048 // bytes

// Open reads the URL.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	url, err := web.SecretURL("url", c.URL)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(url)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		// Text is shown as it is; markdown would interpret what was seen.
		body, err := json.Marshal(map[string]any{"msgtype": "text", "text": map[string]string{"content": notify.CutBytes(title+"\n"+text, maxText)}})
		return web.Request{URL: url, Body: body}, err
	}}, nil
}

// check reads the code of an answer, whose status is always good. 40008, 44004 and 45002 blame the message.
func check(answer []byte, _ []notify.Message) error {
	var a struct {
		Code int    `json:"errcode"`
		Msg  string `json:"errmsg"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return errors.New("the answer is no JSON: check the output's URL")
	}
	err := fmt.Errorf("the robot answers %d: %s", a.Code, notify.Cut(notify.Clean(a.Msg), 200))
	switch a.Code {
	case 0:
		return nil
	case 40008, 44004, 45002:
		return bus.Permanent(err)
	case 45009:
		return &notify.RetryAfter{Err: err, After: time.Minute}
	}
	return daemon.Hint(err, "check the robot's URL and key")
}
