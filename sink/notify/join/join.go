// Package join sends notifications to devices through Join.
package join

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the API for pushes"`
	APIKey     daemon.Secret `yaml:"api_key" doc:"key of the API"`
	Devices    []string      `yaml:"devices" doc:"ids of devices, or of one group such as group.phone"`
	web.Config `yaml:",inline"`
}

// Default is Join's own API.
func Default() *Config {
	return &Config{URL: "https://joinjoaomgcd.appspot.com/_ah/api/messaging/v1/sendPush"}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.CheckURL("url", c.URL), web.Required("api_key", c.APIKey.IsSet()), web.Required("devices", len(c.Devices) > 0), c.Config.Validate()}
	for i, d := range c.Devices {
		if d == "" || strings.ContainsAny(d, ", ") {
			errs = append(errs, fmt.Errorf("devices[%d] is %q, want one id", i, d))
		}
	}
	return errors.Join(errs...)
}

// Batch puts what comes together into one notification.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// The request is a URL, which has to stay short when each character is written as up to twelve.
const (
	maxTitle = 100 // characters
	maxText  = 500
)

// escape breaks what the app on the device may take for a command with arguments.
func escape(s string) string { return strings.ReplaceAll(s, "=:=", "= : =") }

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("api_key", c.APIKey)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, escape)
	if err != nil {
		return nil, err
	}
	client, err := c.New(key, url.QueryEscape(key))
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("url is no URL") // what it holds is not for an error
	}
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		target, query := *base, base.Query()
		for k, v := range map[string]string{
			"apikey": key, "deviceIds": strings.Join(c.Devices, ","), "title": notify.Cut(title, maxTitle), "text": text, "group": "gyre",
			"priority": strconv.Itoa(priority(notify.Worst(batch).Alert.Priority)),
		} {
			query.Set(k, v)
		}
		target.RawQuery = query.Encode()
		return web.Request{URL: target.String(), Type: "text/plain"}, nil
	}}, nil
}

// priority is from -2 to 2, the loudest.
func priority(p alertv1.Priority) int {
	switch {
	case p <= alertv1.Critical:
		return 2
	case p <= alertv1.Warning:
		return 0
	}
	return -1
}

// check reads an answer with a good status. What it complains of is the key or the devices, never the alert.
func check(answer []byte, _ []notify.Message) error {
	var a struct {
		Success *bool  `json:"success"`
		Error   string `json:"errorMessage"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return errors.New("the answer is no JSON: check the output's URL")
	}
	if a.Success != nil && !*a.Success || a.Error != "" {
		return daemon.Hint(fmt.Errorf("the service answers: %s", notify.Cut(notify.Clean(a.Error), 200)), "check api_key and devices")
	}
	return nil
}
