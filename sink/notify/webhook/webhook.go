// Package webhook posts alerts to a URL, in one of several formats, signed if asked to.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to and how.
type Config struct {
	URL           string        `yaml:"url" doc:"where alerts are posted"`
	URLSecret     daemon.Secret `yaml:"secret_url" doc:"the same, if the URL is a secret"`
	Method        string        `yaml:"method" doc:"POST or PUT"`
	Format        format.Format `yaml:"format" doc:"gyre, falco, cloudevents or line"`
	Body          string        `yaml:"body" doc:"template of the body, instead of a format; function json quotes a value"`
	Array         bool          `yaml:"array" doc:"post a JSON array of up to array_max alerts instead of one object each"`
	ArrayMax      int           `yaml:"array_max" doc:"how many alerts an array holds at the most"`
	Authorization daemon.Secret `yaml:"authorization" doc:"value of the Authorization header"`
	HMAC          daemon.Secret `yaml:"hmac" doc:"key to sign bodies with (HMAC-SHA-256)"`
	web.Config    `yaml:",inline"`
}

// Default posts gyre's own JSON.
func Default() *Config { return &Config{Method: http.MethodPost, Format: format.Gyre, ArrayMax: 100} }

// Validate checks the configuration.
func (c *Config) Validate() error {
	var errs []error
	switch {
	case c.URL != "" && c.URLSecret.IsSet():
		errs = append(errs, errors.New("url and secret_url exclude each other"))
	case c.URL != "":
		errs = append(errs, web.CheckURL("url", c.URL))
	default:
		errs = append(errs, web.Required("url", c.URLSecret.IsSet()))
	}
	if c.Method != http.MethodPost && c.Method != http.MethodPut {
		errs = append(errs, fmt.Errorf("method is %q, want POST or PUT", c.Method))
	}
	if c.Array && (c.Body != "" || c.Format == format.Line || c.ArrayMax < 1) {
		errs = append(errs, errors.New("array goes with a JSON format and array_max above 0"))
	}
	if c.Body != "" {
		if _, err := notify.ParseTemplate("body", c.Body); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, c.Config.Validate())...)
}

// Batch is one alert unless arrays are posted.
func (c *Config) Batch() (int, time.Duration) {
	if c.Array {
		return c.ArrayMax, time.Second
	}
	return 1, 0
}

type webhook struct {
	cfg    *Config
	url    string
	auth   string
	key    []byte
	body   *notify.Template
	client *web.Client
}

// Open reads the secrets.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	w := &webhook{cfg: c, url: c.URL}
	var err error
	if c.URLSecret.IsSet() {
		if w.url, err = web.SecretURL("secret_url", c.URLSecret); err != nil {
			return nil, err
		}
	}
	if w.auth, err = c.Authorization.Resolve(); err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	key, err := c.HMAC.Resolve()
	if err != nil {
		return nil, fmt.Errorf("hmac: %w", err)
	}
	w.key = []byte(key)
	if c.Body != "" {
		if w.body, err = notify.ParseTemplate("body", c.Body); err != nil {
			return nil, err
		}
	}
	secrets := []string{w.auth, key}
	if c.URLSecret.IsSet() {
		secrets = append(secrets, w.url)
	}
	w.client, err = c.New(secrets...)
	return w, err
}

// Notify posts each alert, or an array. The alert's id is the Idempotency-Key: a receiver that knows it can drop a repetition.
func (w *webhook) Notify(ctx context.Context, batch []notify.Message) error {
	if !w.cfg.Array {
		return notify.Each(ctx, batch, func(ctx context.Context, m *notify.Message) error {
			body, err := w.encode(m)
			if err != nil {
				return err
			}
			return w.post(ctx, body, m.Alert.ID.String(), w.cfg.Format.ContentType())
		})
	}
	items := make([][]byte, len(batch))
	h := sha256.New()
	for i := range batch {
		var err error
		if items[i], err = w.cfg.Format.Append(nil, &batch[i]); err != nil {
			return err
		}
		h.Write(batch[i].Alert.ID[:])
	}
	kind := "application/json"
	if w.cfg.Format == format.CloudEvent {
		kind = "application/cloudevents-batch+json"
	}
	body := append(append([]byte{'['}, bytes.Join(items, []byte{','})...), ']')
	return w.post(ctx, body, hex.EncodeToString(h.Sum(nil)[:16]), kind)
}

func (w *webhook) encode(m *notify.Message) ([]byte, error) {
	if w.body == nil {
		return w.cfg.Format.Append(nil, m)
	}
	s, err := w.body.Text(m, nil)
	if err != nil {
		return nil, bus.Permanent(fmt.Errorf("body: %w", err))
	}
	return []byte(s), nil
}

func (w *webhook) post(ctx context.Context, body []byte, id, kind string) error {
	r := web.Request{Method: w.cfg.Method, URL: w.url, Type: kind, Body: body, Header: map[string]string{"Idempotency-Key": id}}
	if w.auth != "" {
		r.Header["Authorization"] = w.auth
	}
	if len(w.key) > 0 {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		r.Header["Gyre-Timestamp"], r.Header["Gyre-Signature"] = at, "sha256="+Sign(w.key, at, body)
	}
	_, err := w.client.Do(ctx, r)
	return err
}

// Sign is the signature of a body: HMAC-SHA-256, in hex, over the timestamp, a dot and the body. A receiver compares
// it in constant time and refuses old timestamps.
func Sign(key []byte, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(timestamp + "."))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}
