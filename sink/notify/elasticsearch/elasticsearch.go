// Package elasticsearch indexes alerts with the bulk API of Elasticsearch, OpenSearch and what speaks it.
package elasticsearch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the server, without a path"`
	Index      string        `yaml:"index" doc:"index, alias or data stream"`
	Rotate     string        `yaml:"rotate" doc:"suffix of the index by the alert's time: none, daily (-2026.01.31) or monthly (-2026.01)"`
	Pipeline   string        `yaml:"pipeline" doc:"ingest pipeline"`
	User       string        `yaml:"user" doc:"user of basic authentication"`
	Password   daemon.Secret `yaml:"password" doc:"password of basic authentication"`
	APIKey     daemon.Secret `yaml:"api_key" doc:"API key, in its encoded form"`
	web.Config `yaml:",inline"`
}

// Default indexes by day.
func Default() *Config { return &Config{Index: "gyre-alerts", Rotate: "daily"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.CheckURL("url", c.URL), web.Required("index", c.Index != ""), c.Config.Validate()}
	if c.Index != strings.ToLower(c.Index) || strings.ContainsAny(c.Index, `\/*?"<>| ,#:`) {
		errs = append(errs, fmt.Errorf("index %q: lower case, without \\/*?\"<>|,#: and blanks", c.Index))
	}
	if layout[c.Rotate] == "" && c.Rotate != "none" {
		errs = append(errs, fmt.Errorf("rotate is %q, want none, daily or monthly", c.Rotate))
	}
	return errors.Join(errs...)
}

// layout is the suffix of each way to rotate; never changed.
var layout = map[string]string{"daily": "-2006.01.02", "monthly": "-2006.01"}

// Batch indexes many at once.
func (*Config) Batch() (int, time.Duration) { return 500, time.Second }

const maxDoc = 1 << 20 // bytes

// Open reads the secrets.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	key, err := c.APIKey.Resolve()
	if err != nil {
		return nil, fmt.Errorf("api_key: %w", err)
	}
	client, err := c.New(password, key)
	if err != nil {
		return nil, err
	}
	url := strings.TrimRight(c.URL, "/") + "/_bulk"
	if c.Pipeline != "" {
		url += "?pipeline=" + c.Pipeline
	}
	header := map[string]string{}
	if key != "" {
		header["Authorization"] = "ApiKey " + key
	}
	check := func(answer []byte, batch []notify.Message) error { return result(client, answer, batch) }
	return &web.Poster{Client: client, Check: check, Build: func(batch []notify.Message) (web.Request, error) {
		body, err := c.bulk(batch)
		return web.Request{URL: url, Type: "application/x-ndjson", Body: body, User: c.User, Password: password, Header: header}, err
	}}, nil
}

// bulk creates documents under the alert's id: one that is there already is not indexed twice.
func (c *Config) bulk(batch []notify.Message) ([]byte, error) {
	var b bytes.Buffer
	for i := range batch {
		a := batch[i].Alert
		index := c.Index
		if l := layout[c.Rotate]; l != "" {
			index += a.When().Format(l)
		}
		action, err := json.Marshal(map[string]any{"create": map[string]string{"_index": index, "_id": a.ID.String()}})
		if err != nil {
			return nil, err
		}
		doc, err := format.Fit(a, maxDoc)
		if err != nil {
			return nil, err
		}
		b.Write(action)
		fmt.Fprintf(&b, "\n{\"@timestamp\":%q,", a.When().Format(time.RFC3339Nano))
		b.Write(doc[1:]) // after the brace
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// result finds the alerts that were not taken. 409 means that the document is there.
func result(client *web.Client, answer []byte, batch []notify.Message) error {
	var v struct {
		Errors bool `json:"errors"`
		Items  []map[string]struct {
			Status int `json:"status"`
			Error  struct {
				Type   string `json:"type"`
				Reason string `json:"reason"`
			} `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		return errors.New("the server's answer is not that of a bulk request")
	}
	if !v.Errors {
		return nil
	}
	if len(v.Items) != len(batch) {
		return fmt.Errorf("the server answers for %d of %d alerts", len(v.Items), len(batch))
	}
	p, failed := &notify.Partial{Errs: make([]error, len(batch))}, false
	for i, item := range v.Items {
		for _, r := range item {
			if r.Status < 300 || r.Status == 409 {
				continue
			}
			err := fmt.Errorf("the server answers %d: %s", r.Status, notify.Cut(client.Hide(r.Error.Type+": "+r.Error.Reason), 200))
			if r.Status < 500 && r.Status != 429 && r.Status != 403 && r.Status != 404 {
				err = bus.Permanent(err)
			}
			p.Errs[i], failed = err, true
		}
	}
	if !failed {
		return nil
	}
	return p
}
