// Package datadog sends logs and events to Datadog.
package datadog

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Site       string        `yaml:"site" doc:"site of the account, such as datadoghq.eu"`
	URL        string        `yaml:"url" doc:"full URL of the intake instead, such as that of a proxy"`
	APIKey     daemon.Secret `yaml:"api_key" doc:"API key"`
	Service    string        `yaml:"service" doc:"service that logs are filed under"`
	DDTags     []string      `yaml:"ddtags" doc:"tags of each log or event, as env:prod"`
	web.Config `yaml:",inline"`

	events bool
}

// Logs sends to the logs intake.
func Logs() *Config { return &Config{Site: "datadoghq.com", Service: "gyre"} }

// Events sends to the event stream.
func Events() *Config { return &Config{Site: "datadoghq.com", Service: "gyre", events: true} }

var siteForm = regexp.MustCompile(`^[a-z0-9.-]+$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	var errs []error
	if c.URL != "" {
		errs = append(errs, web.CheckURL("url", c.URL))
	} else if !siteForm.MatchString(c.Site) {
		errs = append(errs, fmt.Errorf("site is %q, want a name such as datadoghq.com", c.Site))
	}
	return errors.Join(append(errs, web.Required("api_key", c.APIKey.IsSet()), c.Config.Validate())...)
}

// Batch sends many logs at once; events go one by one.
func (c *Config) Batch() (int, time.Duration) {
	if c.events {
		return 1, 0
	}
	return 500, time.Second
}

const (
	maxLog   = 200 << 10 // bytes; one log may have 1 MB, a request 5 MB
	maxBody  = 5 << 20
	maxTitle = 400 // characters
	maxEvent = 3900
)

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("api_key", c.APIKey)
	if err != nil {
		return nil, err
	}
	client, err := c.New(key)
	if err != nil {
		return nil, err
	}
	header := map[string]string{"DD-API-KEY": key}
	if c.events {
		r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
		if err != nil {
			return nil, err
		}
		return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
			body, err := c.event(r, &batch[0])
			return web.Request{URL: c.url("https://api." + c.Site + "/api/v1/events"), Body: body, Header: header}, err
		}}, nil
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		body, err := c.logs(batch)
		return web.Request{URL: c.url("https://http-intake.logs." + c.Site + "/api/v2/logs"), Body: body, Header: header}, err
	}}, nil
}

func (c *Config) url(otherwise string) string {
	if c.URL != "" {
		return c.URL
	}
	return otherwise
}

func (c *Config) event(r *notify.Renderer, m *notify.Message) ([]byte, error) {
	title, text, err := r.Both(m)
	if err != nil {
		return nil, err
	}
	kind := "info"
	switch p := m.Alert.Priority; {
	case p <= alertv1.Error:
		kind = "error"
	case p == alertv1.Warning:
		kind = "warning"
	}
	tags := append([]string{"rule:" + m.Alert.Rule, "priority:" + m.Severity}, c.DDTags...)
	return json.Marshal(map[string]any{
		"title": notify.Cut(title, maxTitle), "text": notify.Cut(text, maxEvent), "alert_type": kind, "priority": "normal", "host": notify.Cut(m.Alert.Node, maxTitle), "source_type_name": "gyre",
		"aggregation_key": m.Alert.ID.String(), "date_happened": m.Alert.When().Unix(), "tags": cut(tags),
	})
}

func cut(tags []string) []string {
	out := make([]string, len(tags))
	for i, t := range tags {
		out[i] = notify.Cut(notify.Clean(t), 200)
	}
	return out
}

type log struct {
	Source   string          `json:"ddsource"`
	Tags     string          `json:"ddtags"`
	Hostname string          `json:"hostname"`
	Service  string          `json:"service"`
	Status   string          `json:"status"`
	Message  string          `json:"message"`
	Time     string          `json:"timestamp"`
	Alert    json.RawMessage `json:"alert"`
}

func (c *Config) logs(batch []notify.Message) ([]byte, error) {
	list := make([]log, len(batch))
	for i := range batch {
		a := batch[i].Alert
		doc, err := format.Fit(a, maxLog)
		if err != nil {
			return nil, err
		}
		list[i] = log{
			Source: "gyre", Tags: strings.Join(c.DDTags, ","), Hostname: notify.Cut(a.Node, 200), Service: c.Service, Status: a.Priority.String(),
			Message: notify.CutBytes(notify.Clean(a.Output), maxLog), Time: a.When().Format(time.RFC3339Nano), Alert: doc,
		}
	}
	body, err := json.Marshal(list)
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("%d alerts make %d bytes", len(batch), len(body)) // the sender then tries halves
	}
	return body, err
}
