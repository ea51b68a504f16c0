// Package ifttt triggers an event of IFTTT's Webhooks service.
package ifttt

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the service"`
	EventName  string        `yaml:"event_name" doc:"name of the event"`
	ServiceKey daemon.Secret `yaml:"service_key" doc:"key of the Webhooks service"`
	web.Config `yaml:",inline"`
}

// Default is IFTTT's own service, and the event gyre_alert.
func Default() *Config { return &Config{URL: "https://maker.ifttt.com", EventName: "gyre_alert"} }

var eventForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	var name error
	if !eventForm.MatchString(c.EventName) {
		name = fmt.Errorf("event_name is %q, want letters, digits, - and _", c.EventName)
	}
	return errors.Join(web.CheckURL("url", c.URL), web.Required("service_key", c.ServiceKey.IsSet()), name, c.Config.Validate())
}

const (
	maxTitle = 250 // characters
	maxText  = 4000
)

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("service_key", c.ServiceKey)
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
	target := strings.TrimRight(c.URL, "/") + "/trigger/" + c.EventName + "/with/key/" + url.PathEscape(key)
	return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Both(&batch[0])
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(map[string]string{"value1": notify.Cut(title, maxTitle), "value2": notify.Cut(text, maxText), "value3": batch[0].Alert.ID.String()})
		return web.Request{URL: target, Body: body}, err
	}}, nil
}
