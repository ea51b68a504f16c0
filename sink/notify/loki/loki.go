// Package loki pushes alerts to Grafana Loki.
package loki

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string            `yaml:"url" doc:"Loki, without a path"`
	Tenant     string            `yaml:"tenant" doc:"tenant, sent as X-Scope-OrgID"`
	User       string            `yaml:"user" doc:"user of basic authentication"`
	Password   daemon.Secret     `yaml:"password" doc:"password of basic authentication"`
	Labels     map[string]string `yaml:"labels" doc:"labels of each stream beside job, priority, source and node"`
	Metadata   bool              `yaml:"structured_metadata" doc:"send alert_id and rule as structured metadata (Loki 3)"`
	web.Config `yaml:",inline"`
}

// Default sends structured metadata.
func Default() *Config { return &Config{Metadata: true} }

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.CheckURL("url", c.URL), c.Config.Validate()}
	for name := range c.Labels {
		if !labelName.MatchString(name) {
			errs = append(errs, fmt.Errorf("labels: %q is no label name", name))
		}
	}
	return errors.Join(errs...)
}

// Batch pushes many at once.
func (*Config) Batch() (int, time.Duration) { return 500, time.Second }

const maxLine = 200 << 10 // bytes; Loki takes lines of 256 KB

type stream struct {
	Labels map[string]string `json:"stream"`
	Values [][]any           `json:"values"`
}

// Open reads the password.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	client, err := c.New(password)
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	if c.Tenant != "" {
		header["X-Scope-OrgID"] = c.Tenant
	}
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		body, err := c.push(batch)
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/loki/api/v1/push", Body: body, User: c.User, Password: password, Header: header}, err
	}}, nil
}

// push puts alerts with the same labels into one stream, in the order of their times. A line that comes again with the
// same time is dropped by Loki.
func (c *Config) push(batch []notify.Message) ([]byte, error) {
	streams := map[string]*stream{}
	var list []*stream
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b notify.Message) int { return int(max(-1, min(1, a.Alert.Time-b.Alert.Time))) })
	for i := range sorted {
		m := &sorted[i]
		line, err := format.Fit(m.Alert, maxLine)
		if err != nil {
			return nil, err
		}
		key := m.Severity + "\x00" + m.Alert.Source + "\x00" + m.Alert.Node
		s := streams[key]
		if s == nil {
			s = &stream{Labels: map[string]string{"job": "gyre", "priority": m.Severity, "source": m.Alert.Source, "node": notify.Cut(notify.Clean(m.Alert.Node), 200)}}
			maps.Copy(s.Labels, c.Labels)
			streams[key] = s
			list = append(list, s)
		}
		value := []any{strconv.FormatInt(m.Alert.Time, 10), string(line)}
		if c.Metadata {
			value = append(value, map[string]string{"alert_id": m.Alert.ID.String(), "rule": notify.Cut(notify.Clean(m.Alert.Rule), 200)})
		}
		s.Values = append(s.Values, value)
	}
	return json.Marshal(map[string]any{"streams": list})
}
