// Package falcosidekick posts to Falcosidekick, whose outputs then all are ours too, and to Falcosidekick-UI.
package falcosidekick

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"Falcosidekick, such as http://falcosidekick:2801, or its UI, such as http://falcosidekick-ui:2802"`
	User       string        `yaml:"user" doc:"user of the UI"`
	Password   daemon.Secret `yaml:"password" doc:"password of the UI"`
	web.Config `yaml:",inline"`

	ui bool
}

// Sidekick is Falcosidekick's own input.
func Sidekick() *Config { return &Config{} }

// UI is the input of Falcosidekick-UI.
func UI() *Config { return &Config{ui: true} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), c.Config.Validate())
}

// Open reads the password.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	client, err := c.New(password)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
		f := format.FalcoOf(batch[0].Alert)
		f.Output, f.Rule = notify.Clean(f.Output), notify.Clean(f.Rule)
		for k, v := range f.OutputFields { // Falcosidekick 2.34 ends a request whose k8s fields are no text
			if strings.HasPrefix(k, "k8s.") {
				f.OutputFields[k] = notify.FieldText(v)
			}
		}
		var v any = f
		if c.ui {
			v = struct {
				Event   format.FalcoAlert `json:"event"`
				Outputs []string          `json:"outputs"`
			}{f, []string{"gyre/" + env.Name}}
		}
		body, err := json.Marshal(v)
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/", Body: body, User: c.User, Password: password, Header: map[string]string{"Idempotency-Key": f.UUID}}, err
	}}, nil
}
