// Package pagerduty triggers PagerDuty incidents through the Events API v2.
package pagerduty

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the Events API; https://events.eu.pagerduty.com/v2/enqueue in the EU"`
	RoutingKey daemon.Secret `yaml:"routing_key" doc:"integration key of the service"`
	DedupKey   string        `yaml:"dedup_key" doc:"template of the key; alerts with the same key are one incident"`
	web.Config `yaml:",inline"`
}

// Default makes an incident of each alert.
func Default() *Config {
	return &Config{URL: "https://events.pagerduty.com/v2/enqueue", DedupKey: "{{.ID}}"}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	_, err := notify.ParseTemplate("dedup_key", c.DedupKey)
	return errors.Join(web.CheckURL("url", c.URL), web.Required("routing_key", c.RoutingKey.IsSet()), err, c.Config.Validate())
}

const (
	maxSummary = 1024 // characters
	maxKey     = 255
	maxDetails = 400 << 10 // bytes, of the 512 KB of an event
)

type payload struct {
	Summary   string          `json:"summary"`
	Source    string          `json:"source"`
	Severity  string          `json:"severity"`
	Timestamp string          `json:"timestamp"`
	Component string          `json:"component,omitempty"`
	Group     string          `json:"group,omitempty"`
	Class     string          `json:"class"`
	Details   json.RawMessage `json:"custom_details"`
}

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("routing_key", c.RoutingKey)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer("{{.Rule}}: {{.Output}}", notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	dedup, err := notify.ParseTemplate("dedup_key", c.DedupKey)
	if err != nil {
		return nil, err
	}
	client, err := c.New(key)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
		m := &batch[0]
		title, err := r.Title(m)
		if err != nil {
			return web.Request{}, err
		}
		id, err := dedup.Text(m, nil)
		if err != nil {
			return web.Request{}, err
		}
		details, err := format.Fit(m.Alert, maxDetails)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(map[string]any{
			"routing_key": key, "event_action": "trigger", "dedup_key": notify.Cut(id, maxKey), "client": "gyre",
			"payload": payload{
				Summary: notify.Cut(title, maxSummary), Source: notify.Cut(m.Alert.Node, maxKey), Severity: severity(m), Timestamp: m.Alert.When().Format(time.RFC3339Nano),
				Component: notify.Cut(m.Alert.Process().Name, maxKey), Group: m.Alert.K8s.Namespace, Class: notify.Cut(m.Alert.Rule, maxKey), Details: details,
			},
		})
		return web.Request{URL: c.URL, Body: body}, err
	}}, nil
}

// severity is one of the four words that the API knows.
func severity(m *notify.Message) string {
	switch m.Severity { // the words of the configuration
	case "critical", "error", "warning", "info":
		return m.Severity
	}
	switch p := m.Alert.Priority; {
	case p <= alertv1.Critical:
		return "critical"
	case p == alertv1.Error:
		return "error"
	case p == alertv1.Warning:
		return "warning"
	}
	return "info"
}
