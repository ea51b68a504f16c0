// Package grafanaoncall posts to a "formatted webhook" integration of Grafana OnCall.
package grafanaoncall

import (
	"encoding/json"
	"errors"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        daemon.Secret `yaml:"url" doc:"the integration's URL, which is a secret"`
	UID        string        `yaml:"uid" doc:"template of the alert's uid; alerts with the same one are a group"`
	web.Config `yaml:",inline"`
}

// Default makes a group of each alert.
func Default() *Config { return &Config{UID: "{{.ID}}"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	_, err := notify.ParseTemplate("uid", c.UID)
	return errors.Join(web.Required("url", c.URL.IsSet()), err, c.Config.Validate())
}

const (
	maxTitle = 250 // characters
	maxText  = 8000
)

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
	uid, err := notify.ParseTemplate("uid", c.UID)
	if err != nil {
		return nil, err
	}
	client, err := c.New(url)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
		m := &batch[0]
		title, text, err := r.Both(m)
		if err != nil {
			return web.Request{}, err
		}
		id, err := uid.Text(m, nil)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(map[string]string{
			"alert_uid": notify.Cut(id, maxTitle), "title": notify.Cut(title, maxTitle), "message": notify.Cut(text, maxText), "state": "alerting", "severity": m.Severity, "node": notify.Cut(m.Alert.Node, maxTitle),
		})
		return web.Request{URL: url, Body: body}, err
	}}, nil
}
