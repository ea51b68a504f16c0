// Package web is the HTTP client of outputs: TLS verified, redirects never followed,
// answers classified, secrets kept out of errors.
package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Config is what every output over HTTP may set.
type Config struct {
	Headers  map[string]string `yaml:"headers" doc:"headers of each request"`
	CAFile   string            `yaml:"ca_file" doc:"certificates of the authorities that sign the server's; empty means the system's"`
	CertFile string            `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string            `yaml:"key_file" doc:"key of the client certificate"`
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("cert_file and key_file go together")
	}
	return nil
}

// TLS returns the TLS settings; the server's certificate is always verified.
func (c Config) TLS() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca_file: %s holds no certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// CheckURL checks that raw is an http or https URL; key is the setting's name. The URL is not in the error: it may hold a secret.
func CheckURL(key, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return daemon.Hint(fmt.Errorf("%s is no URL", key), "write it as https://host/path")
	}
	return nil
}

// Secret resolves a secret that must be set and returns it without blanks around it.
func Secret(key string, s daemon.Secret) (string, error) {
	v, err := s.Resolve()
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if v = strings.TrimSpace(v); v == "" {
		return "", daemon.Hint(fmt.Errorf("%s is empty", key), fmt.Sprintf("set %s_file or %s_env", key, key))
	}
	return v, nil
}

// SecretURL is [Secret] for a URL.
func SecretURL(key string, s daemon.Secret) (string, error) {
	v, err := Secret(key, s)
	if err == nil {
		err = CheckURL(key, v)
	}
	return v, err
}

// Required is the error of a setting without a value, nil if ok.
func Required(key string, ok bool) error {
	if ok {
		return nil
	}
	return daemon.Hint(fmt.Errorf("%s is not set", key), "every output of this type needs it")
}

// Client is safe for concurrent use.
type Client struct {
	http    *http.Client
	headers map[string]string
	hide    *strings.Replacer
}

// New returns a Client. The secrets, if they come up in an answer or an error, are replaced.
func (c Config) New(secrets ...string) (*Client, error) {
	t, err := c.TLS()
	if err != nil {
		return nil, err
	}
	tr := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented to be one
	tr.TLSClientConfig = t
	tr.MaxIdleConnsPerHost = 8
	return &Client{
		http:    &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		headers: c.Headers, hide: replacer(secrets),
	}, nil
}

// replacer replaces secrets and the parts of them that tell them: words, and of a URL its password, path and query.
func replacer(secrets []string) *strings.Replacer {
	const short = 6 // a shorter part tells little, and would mangle what is said
	var parts []string
	add := func(list ...string) {
		for _, p := range list {
			if len(p) >= short {
				parts = append(parts, p)
			}
		}
	}
	for _, s := range secrets {
		add(s)
		add(strings.Fields(s)...)
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			continue
		}
		pw, _ := u.User.Password()
		add(u.RequestURI(), u.Path, pw)
		add(strings.Split(u.EscapedPath(), "/")...)
		for _, v := range u.Query() {
			add(v...)
		}
	}
	slices.SortStableFunc(parts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, p := range parts {
		pairs = append(pairs, p, "<secret>")
	}
	return strings.NewReplacer(pairs...)
}

// Request is one request. Method "" means POST, Type "" application/json.
type Request struct {
	Method, URL, Type string
	Body              []byte
	Header            map[string]string
	// User and Password, if set, are sent as basic authentication.
	User, Password string
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// Do sends a request and returns the answer's body. A status outside 200 to 299 is an error,
// see [StatusError]; no error names the URL.
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	if r.Type == "" {
		r.Type = "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, bus.Permanent(errors.New("the request cannot be made: check the URL"))
	}
	req.Header.Set("Content-Type", r.Type)
	req.Header.Set("User-Agent", "gyre")
	for _, h := range []map[string]string{c.headers, r.Header} {
		for k, v := range h {
			req.Header.Set(k, v)
		}
	}
	if r.User != "" || r.Password != "" {
		req.SetBasicAuth(r.User, r.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the URL
		}
		return nil, c.hidden(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		return body, nil
	}
	return body, StatusError(resp.StatusCode, resp.Header, c.hide.Replace(string(body)))
}

// Hide replaces the secrets in a text.
func (c *Client) Hide(s string) string { return c.hide.Replace(s) }

// hidden keeps the class of an error and replaces secrets in its text.
func (c *Client) hidden(err error) error {
	if text := c.hide.Replace(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// StatusError classifies an answer. What the alert is to blame for (400, 413, 422 and so on) is permanent. What an
// operator can mend without touching the alert (401, 403, 404, 405, 407, 410, a redirect) and what mends itself (408, 425, 429,
// 5xx) is transient.
func StatusError(code int, h http.Header, body string) error {
	err := fmt.Errorf("the server answers %d %s", code, http.StatusText(code))
	if text := strings.TrimSpace(notify.Clean(body)); text != "" {
		err = fmt.Errorf("%w: %s", err, notify.Cut(strings.Join(strings.Fields(text), " "), 200))
	}
	switch {
	case code >= 300 && code < 400:
		return daemon.Hint(fmt.Errorf("%w: redirects are not followed", err), "set the URL that the server redirects to, if you trust it")
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		return daemon.Hint(err, "check the output's credentials")
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusGone:
		return daemon.Hint(err, "check the output's URL")
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		if after := retryAfter(h.Get("Retry-After"), time.Now()); after > 0 {
			return &notify.RetryAfter{Err: err, After: after}
		}
		return err
	}
	return bus.Permanent(err)
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3), an hour at the most.
func retryAfter(v string, now time.Time) time.Duration {
	var d time.Duration
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		d = time.Duration(min(s, 3600) * float64(time.Second))
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}
