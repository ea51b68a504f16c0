// Package opsgenie creates Opsgenie alerts.
package opsgenie

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the alert API; https://api.eu.opsgenie.com/v2/alerts in the EU"`
	APIKey     daemon.Secret `yaml:"api_key" doc:"key of the API integration"`
	Alias      string        `yaml:"alias" doc:"template of the alias; open alerts with the same one are counted together"`
	Teams      []string      `yaml:"teams" doc:"names of teams to notify"`
	web.Config `yaml:",inline"`
}

// Default makes an Opsgenie alert of each alert.
func Default() *Config {
	return &Config{URL: "https://api.opsgenie.com/v2/alerts", Alias: "{{.ID}}"}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	_, err := notify.ParseTemplate("alias", c.Alias)
	return errors.Join(web.CheckURL("url", c.URL), web.Required("api_key", c.APIKey.IsSet()), err, c.Config.Validate())
}

// Limits of the API, in characters.
const (
	maxMessage = 130
	maxAlias   = 512
	maxText    = 15_000
	maxTags    = 20
	maxTag     = 50
	maxDetail  = 500
)

type responder struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type alert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias"`
	Description string            `json:"description"`
	Priority    string            `json:"priority"`
	Source      string            `json:"source"`
	Entity      string            `json:"entity"`
	Tags        []string          `json:"tags"`
	Details     map[string]string `json:"details"`
	Responders  []responder       `json:"responders,omitempty"`
}

// Open reads the key.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	key, err := web.Secret("api_key", c.APIKey)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer("{{.Rule}} on {{.Node}}", notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	alias, err := notify.ParseTemplate("alias", c.Alias)
	if err != nil {
		return nil, err
	}
	client, err := c.New(key)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Each: true, Build: func(batch []notify.Message) (web.Request, error) {
		m := &batch[0]
		title, text, err := r.Both(m)
		if err != nil {
			return web.Request{}, err
		}
		id, err := alias.Text(m, nil)
		if err != nil {
			return web.Request{}, err
		}
		a := alert{
			Message: notify.Cut(title, maxMessage), Alias: notify.Cut(id, maxAlias), Description: notify.Cut(text, maxText), Priority: priority(m), Source: "gyre",
			Entity: notify.Cut(m.Alert.Node, maxAlias), Tags: []string{}, Details: details(m),
		}
		for _, t := range m.Alert.Tags[:min(len(m.Alert.Tags), maxTags)] {
			a.Tags = append(a.Tags, notify.Cut(t, maxTag))
		}
		for _, t := range c.Teams {
			a.Responders = append(a.Responders, responder{t, "team"})
		}
		body, err := json.Marshal(a)
		return web.Request{URL: c.URL, Body: body, Header: map[string]string{"Authorization": "GenieKey " + key}}, err
	}}, nil
}

// details are the fields; 8000 characters of them at the most.
func details(m *notify.Message) map[string]string {
	out := map[string]string{"rule": notify.Cut(m.Alert.Rule, maxDetail), "priority": m.Alert.Priority.String(), "alert_id": m.Alert.ID.String()}
	for i, f := range m.Alert.Fields {
		if i == 12 {
			break
		}
		if f.Value != nil {
			out[notify.Cut(f.Name, 100)] = notify.Cut(notify.Clean(notify.FieldText(f.Value)), maxDetail)
		}
	}
	return out
}

// priority is P1 to P5.
func priority(m *notify.Message) string {
	if slices.Contains([]string{"P1", "P2", "P3", "P4", "P5"}, m.Severity) {
		return m.Severity
	}
	switch p := m.Alert.Priority; {
	case p <= alertv1.Critical:
		return "P1"
	case p == alertv1.Error:
		return "P2"
	case p == alertv1.Warning:
		return "P3"
	case p == alertv1.Notice:
		return "P4"
	}
	return "P5"
}
