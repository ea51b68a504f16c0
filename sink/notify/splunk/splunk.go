// Package splunk sends alerts to a Splunk HTTP event collector.
package splunk

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
	URL        string        `yaml:"url" doc:"the collector, such as https://splunk:8088"`
	Token      daemon.Secret `yaml:"token" doc:"token of the collector"`
	Index      string        `yaml:"index" doc:"index; empty means that of the token"`
	SourceType string        `yaml:"sourcetype" doc:"source type"`
	web.Config `yaml:",inline"`
}

// Default is the source type gyre:alert.
func Default() *Config { return &Config{SourceType: "gyre:alert"} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	return errors.Join(web.CheckURL("url", c.URL), web.Required("token", c.Token.IsSet()), c.Config.Validate())
}

// Batch sends many at once.
func (*Config) Batch() (int, time.Duration) { return 200, time.Second }

const maxEvent = 900 << 10 // bytes; the collector takes 1 MB by default

type event struct {
	Time       json.Number       `json:"time"`
	Host       string            `json:"host"`
	Source     string            `json:"source"`
	SourceType string            `json:"sourcetype"`
	Index      string            `json:"index,omitempty"`
	Event      json.RawMessage   `json:"event"`
	Fields     map[string]string `json:"fields"`
}

// Open reads the token.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	token, err := web.Secret("token", c.Token)
	if err != nil {
		return nil, err
	}
	client, err := c.New(token)
	if err != nil {
		return nil, err
	}
	header := map[string]string{"Authorization": "Splunk " + token}
	return &web.Poster{Client: client, Check: check, Failed: failed, Build: func(batch []notify.Message) (web.Request, error) {
		var b bytes.Buffer
		for i := range batch {
			a := batch[i].Alert
			doc, err := format.Fit(a, maxEvent/2)
			if err != nil {
				return web.Request{}, err
			}
			e, err := json.Marshal(event{
				Time: json.Number(fmt.Sprintf("%d.%09d", a.Time/1e9, a.Time%1e9)), Host: notify.Cut(a.Node, 200), Source: "gyre", SourceType: c.SourceType, Index: c.Index, Event: doc,
				Fields: map[string]string{"rule": notify.Cut(notify.Clean(a.Rule), 200), "severity": batch[i].Severity, "alert_id": a.ID.String()},
			})
			if err != nil {
				return web.Request{}, err
			}
			b.Write(e)
			b.WriteByte('\n')
		}
		return web.Request{URL: strings.TrimRight(c.URL, "/") + "/services/collector/event", Body: b.Bytes(), Header: header}, nil
	}}, nil
}

type answerBody struct {
	Code int    `json:"code"`
	Text string `json:"text"`
}

// check: the code 0 means success, whatever the status.
func check(answer []byte, _ []notify.Message) error {
	var v answerBody
	if json.Unmarshal(answer, &v) == nil && v.Code != 0 {
		return fmt.Errorf("the collector answers code %d: %s", v.Code, notify.Cut(v.Text, 100))
	}
	return nil
}

// failed: a wrong index (7) or a missing channel (10) comes as 400 and is the configuration's fault, not the alert's.
func failed(answer []byte, err error) error {
	var v answerBody
	if bus.IsPermanent(err) && json.Unmarshal(answer, &v) == nil && (v.Code == 7 || v.Code == 10) {
		return daemon.Hint(errors.New(err.Error()), "check index and token of the output")
	}
	return err
}
