// Package alertmanager posts to the API v2 of Prometheus Alertmanager.
package alertmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string            `yaml:"url" doc:"Alertmanager, without a path"`
	User       string            `yaml:"user" doc:"user of basic authentication"`
	Password   daemon.Secret     `yaml:"password" doc:"password of basic authentication"`
	Labels     map[string]string `yaml:"labels" doc:"labels added to each alert"`
	Fields     []string          `yaml:"fields" doc:"fields that become labels, such as proc.name; few, with few values"`
	Expires    time.Duration     `yaml:"expires" doc:"how long after its time an alert counts as firing"`
	web.Config `yaml:",inline"`
}

// Default has alerts fire for an hour.
func Default() *Config { return &Config{Expires: time.Hour} }

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.CheckURL("url", c.URL), c.Config.Validate()}
	for name := range c.Labels {
		if !labelName.MatchString(name) {
			errs = append(errs, fmt.Errorf("labels: %q is no label name", name))
		}
	}
	if c.Expires <= 0 {
		errs = append(errs, fmt.Errorf("expires is %s, want above 0", c.Expires))
	}
	return errors.Join(errs...)
}

// Batch posts many alerts at once.
func (*Config) Batch() (int, time.Duration) { return 64, time.Second }

const maxText = 2000 // characters of a label or annotation

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    string            `json:"startsAt"`
	EndsAt      string            `json:"endsAt"`
}

// Open reads the password.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	r, err := env.Renderer("{{.Rule}} on {{.Node}}", "{{.Output}}", nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(password)
	if err != nil {
		return nil, err
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		list := make([]alert, len(batch))
		for i := range batch {
			title, text, err := r.Both(&batch[i])
			if err != nil {
				return web.Request{}, err
			}
			a := batch[i].Alert
			list[i] = alert{
				Labels: c.labels(&batch[i]), StartsAt: a.When().Format(time.RFC3339Nano), EndsAt: a.When().Add(c.Expires).Format(time.RFC3339Nano),
				Annotations: map[string]string{"summary": notify.Cut(title, maxText), "description": notify.Cut(text, maxText), "alert_id": a.ID.String()},
			}
		}
		body, err := json.Marshal(list)
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/api/v2/alerts", Body: body, User: c.User, Password: password}, err
	}}, nil
}

// labels are what Alertmanager takes for the identity of an alert; a label without a value is none.
func (c *Config) labels(m *notify.Message) map[string]string {
	out := map[string]string{}
	set := func(name, value string) {
		if value = notify.Cut(notify.Clean(value), maxText); value != "" {
			out[name] = value
		}
	}
	v := notify.NewView(m, nil)
	set("alertname", v.Rule)
	set("severity", m.Severity)
	set("node", v.Node)
	set("source", v.Source)
	set("namespace", v.Namespace)
	set("pod", v.Pod)
	set("container", v.Container)
	for _, f := range c.Fields {
		set(strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, f), v.Fields[f])
	}
	for name, value := range c.Labels {
		set(name, value)
	}
	return out
}
