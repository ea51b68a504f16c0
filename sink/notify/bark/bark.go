// Package bark sends notifications to iPhones through a Bark server.
package bark

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the server"`
	DeviceKey  daemon.Secret `yaml:"device_key" doc:"key of the device"`
	Group      string        `yaml:"group" doc:"group of the notifications on the device"`
	web.Config `yaml:",inline"`
}

// Default is the server of Bark's author, and the group gyre.
func Default() *Config { return &Config{URL: "https://api.day.app", Group: "gyre"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), web.Required("device_key", c.DeviceKey.IsSet()), c.Config.Validate())
}

const (
	maxTitle = 200  // characters
	maxText  = 2500 // bytes; Apple takes 4096 for the whole
)

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("device_key", c.DeviceKey)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(key)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Each: true, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Both(&batch[0])
		if err != nil {
			return web.Request{}, err
		}
		// A notification with an id replaces the one that is there: a repetition is not seen.
		body, err := json.Marshal(map[string]string{
			"device_key": key, "title": notify.Cut(title, maxTitle), "body": notify.CutBytes(text, maxText), "group": c.Group, "level": level(batch[0].Alert.Priority), "id": batch[0].Alert.ID.String(),
		})
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/push", Body: body}, err
	}}, nil
}

// level is how loud the device is.
func level(p alertv1.Priority) string {
	switch {
	case p <= alertv1.Critical:
		return "timeSensitive"
	case p <= alertv1.Warning:
		return "active"
	}
	return "passive"
}

// check reads the code of an answer with a good status.
func check(answer []byte, _ []notify.Message) error {
	var a struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return errors.New("the answer is no JSON: check the output's URL")
	}
	err := fmt.Errorf("the server answers %d: %s", a.Code, notify.Cut(notify.Clean(a.Message), 200))
	switch a.Code {
	case 200:
		return nil
	case 400:
		return bus.Permanent(err)
	}
	return err
}
