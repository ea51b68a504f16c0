// Package lark posts to a custom bot of Lark or Feishu.
package lark

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the bot's URL, which is a secret"`
	SigningKey daemon.Secret `yaml:"signing_key" doc:"the bot's signature key, if signatures are asked for"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

const maxText = 4000 // characters; a request has 20 KB at the most

// escape breaks the tags by which a text mentions people.
func escape(s string) string { return strings.ReplaceAll(s, "<", "<\u200b") }

// Open reads the secrets.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	url, err := web.SecretURL("url", c.URL)
	if err != nil {
		return nil, err
	}
	key, err := c.SigningKey.Resolve()
	if err != nil {
		return nil, fmt.Errorf("signing_key: %w", err)
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, escape)
	if err != nil {
		return nil, err
	}
	client, err := c.New(url, key)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		m := map[string]any{"msg_type": "text", "content": map[string]string{"text": title + "\n" + text}}
		if key != "" {
			at := strconv.FormatInt(time.Now().Unix(), 10)
			m["timestamp"], m["sign"] = at, sign(at, key)
		}
		body, err := json.Marshal(m)
		return web.Request{URL: url, Body: body}, err
	}}, nil
}

// sign is the HMAC-SHA-256 of nothing under the time, a line break and the key, as the bots want it.
func sign(at, key string) string {
	return base64.StdEncoding.EncodeToString(hmac.New(sha256.New, []byte(at+"\n"+key)).Sum(nil))
}

// check reads the code of an answer, whose status is always good. 9499 is a message that the bot does not understand.
func check(answer []byte, _ []notify.Message) error {
	var a struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return errors.New("the answer is no JSON: check the output's URL")
	}
	if a.Code == 0 {
		return nil
	}
	err := fmt.Errorf("the bot answers %d: %s", a.Code, notify.Cut(notify.Clean(a.Msg), 200))
	if a.Code == 9499 {
		return bus.Permanent(err)
	}
	return daemon.Hint(err, "check the bot's URL, signing_key, allowed addresses and key words")
}
