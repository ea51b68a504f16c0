// Package dingtalk posts to a custom robot of a DingTalk group.
package dingtalk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the robot's URL with its access_token, which is a secret"`
	SigningKey daemon.Secret `yaml:"signing_key" doc:"the robot's key for signatures (SEC...), if it asks for them"`
	Keyword    string        `yaml:"keyword" doc:"a word that the robot asks for in each message"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.Required("url", c.URL.IsSet()), c.Config.Validate())
}

// Batch puts what comes together into one message: a robot takes 20 in a minute.
func (*Config) Batch() (int, time.Duration) { return 10, 3 * time.Second }

const (
	maxText = 4000   // characters
	maxBody = 12_000 // bytes; a request has 20,000 at the most
)

// Open reads the secrets.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	raw, err := web.SecretURL("url", c.URL)
	if err != nil {
		return nil, err
	}
	key, err := c.SigningKey.Resolve()
	if err != nil {
		return nil, fmt.Errorf("signing_key: %w", err)
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("url is no URL") // it is a secret
	}
	client, err := c.New(raw, key, base.Query().Get("access_token"))
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		if c.Keyword != "" {
			title = c.Keyword + " " + title
		}
		// Text is shown as it is, and mentions nobody unless "at" says so; markdown would interpret what was seen.
		body, err := json.Marshal(map[string]any{
			"msgtype": "text", "text": map[string]string{"content": notify.CutBytes(title+"\n"+text, maxBody)}, "at": map[string]bool{"isAtAll": false},
		})
		return web.Request{URL: signed(*base, key, time.Now()), Body: body}, err
	}}, nil
}

// signed adds the time in milliseconds, and the HMAC-SHA-256 of it, a line break and the key under the key, as the robots want it.
func signed(u url.URL, key string, now time.Time) string {
	if key == "" {
		return u.String()
	}
	at := strconv.FormatInt(now.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(at + "\n" + key))
	q := u.Query()
	q.Set("timestamp", at)
	q.Set("sign", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	u.RawQuery = q.Encode()
	return u.String()
}

// check reads the code of an answer, whose status is always good. 430101 to 430104 are contents that DingTalk does not let pass.
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
	case 430101, 430102, 430103, 430104:
		return bus.Permanent(err)
	case 130101:
		return &notify.RetryAfter{Err: err, After: time.Minute}
	}
	return daemon.Hint(err, "check the robot's URL, signing_key, keyword and allowed addresses")
}
