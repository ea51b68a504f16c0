// Package policyreport keeps the latest alerts of each namespace in a PolicyReport of Kubernetes (wgpolicyk8s.io/v1alpha2),
// and those of no namespace in a ClusterPolicyReport.
package policyreport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"API server, in a cluster https://kubernetes.default.svc"`
	Token      daemon.Secret `yaml:"token" doc:"token of a service account; its file is read again each time, since Kubernetes replaces it"`
	Report     string        `yaml:"report" doc:"name of the reports"`
	MaxResults int           `yaml:"max_results" doc:"alerts in one report; the oldest go first"`
	web.Config `yaml:",inline"`
}

// Default keeps 200 alerts in reports named gyre.
func Default() *Config { return &Config{Report: "gyre", MaxResults: 200} }

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.CheckURL("url", c.URL), c.Config.Validate()}
	if !label.MatchString(c.Report) {
		errs = append(errs, fmt.Errorf("report is %q, want a name of lower-case letters, digits and -", c.Report))
	}
	if c.MaxResults < 1 || c.MaxResults > 500 {
		errs = append(errs, fmt.Errorf("max_results is %d, want 1 to 500: an object of Kubernetes has at most about 1.5 MB", c.MaxResults))
	}
	return errors.Join(errs...)
}

// Batch writes a report once for many alerts.
func (*Config) Batch() (int, time.Duration) { return 200, 2 * time.Second }

type reporter struct {
	cfg    *Config
	mu     sync.Mutex // also keeps the own requests from conflicting
	token  string
	client *web.Client
}

// Open reads the token.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	r := &reporter{cfg: c}
	return r, r.login()
}

// login reads the token again, and makes a client that hides it.
func (r *reporter) login() error {
	token, err := r.cfg.Token.Resolve()
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if token = strings.TrimSpace(token); r.client != nil && token == r.token {
		return nil
	}
	r.token = token
	r.client, err = r.cfg.New(token)
	return err
}

// Notify adds the alerts to the reports of their namespaces. One that is there already is not added again.
func (r *reporter) Notify(ctx context.Context, batch []notify.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.login(); err != nil {
		return err
	}
	var order []string
	groups := map[string][]int{}
	for i := range batch {
		ns := batch[i].Alert.K8s.Namespace
		if !label.MatchString(ns) { // none, or a text that is no name and must not get into a path
			ns = ""
		}
		if groups[ns] == nil {
			order = append(order, ns)
		}
		groups[ns] = append(groups[ns], i)
	}
	part, failed := &notify.Partial{Errs: make([]error, len(batch))}, error(nil)
	for _, ns := range order {
		msgs := make([]*notify.Message, 0, len(groups[ns]))
		for _, i := range groups[ns] {
			msgs = append(msgs, &batch[i])
		}
		err := r.report(ctx, ns, msgs)
		if errors.Is(err, errNoNamespace) {
			err = r.report(ctx, "", msgs)
		}
		if err == nil {
			continue
		}
		failed = err
		for _, i := range groups[ns] {
			part.Errs[i] = err
		}
	}
	if failed == nil || len(order) == 1 {
		return failed
	}
	return part
}

// errNoNamespace: the namespace of an alert is gone or goes, and takes no new report.
var errNoNamespace = errors.New("the namespace is gone")

// maxConflicts is how often a report is read again because another has changed it.
const maxConflicts = 5

func (r *reporter) report(ctx context.Context, ns string, msgs []*notify.Message) error {
	for range maxConflicts {
		done, err := r.attempt(ctx, ns, msgs)
		if err != nil || done {
			return err
		}
	}
	return errors.New("others keep changing the report")
}

// attempt reads a report and writes it with the alerts. It is not done if another wrote in between.
func (r *reporter) attempt(ctx context.Context, ns string, msgs []*notify.Message) (done bool, err error) {
	kind, list := "PolicyReport", r.cfg.base()+"/namespaces/"+ns+"/policyreports"
	if ns == "" {
		kind, list = "ClusterPolicyReport", r.cfg.base()+"/clusterpolicyreports"
	}
	rep, there := report{APIVersion: apiVersion, Kind: kind, Metadata: map[string]any{"name": r.cfg.Report, "labels": map[string]string{"app.kubernetes.io/managed-by": "gyre"}}}, true
	answer, err := r.do(ctx, http.MethodGet, list+"/"+r.cfg.Report, nil)
	switch st := statusOf(answer, err); {
	case st.Code == http.StatusNotFound:
		there = false
	case err != nil:
		return false, err
	default:
		if err := json.Unmarshal(answer, &rep); err != nil || rep.Metadata == nil {
			return false, errors.New("the API server's answer is no report: check the output's URL")
		}
	}
	if !rep.add(msgs, r.cfg.MaxResults) {
		return true, nil
	}
	body, err := json.Marshal(rep)
	if err != nil {
		return false, bus.Permanent(err)
	}
	if there {
		answer, err = r.do(ctx, http.MethodPut, list+"/"+r.cfg.Report, body)
	} else {
		answer, err = r.do(ctx, http.MethodPost, list, body)
	}
	switch st := statusOf(answer, err); {
	case err == nil:
		return true, nil
	case st.Code == http.StatusConflict, there && st.Code == http.StatusNotFound:
		return false, nil
	case ns != "" && (st.Code == http.StatusNotFound && st.Details.Kind == "namespaces" || st.Code == http.StatusForbidden && strings.Contains(st.Message, "being terminated")):
		return false, errNoNamespace
	}
	return false, err
}

func (c *Config) base() string { return strings.TrimRight(c.URL, "/") + "/apis/" + apiVersion }

func (r *reporter) do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	req := web.Request{Method: method, URL: url, Body: body}
	if r.token != "" {
		req.Header = map[string]string{"Authorization": "Bearer " + r.token}
	}
	return r.client.Do(ctx, req)
}

// status is what the API server says when it refuses something.
type status struct {
	Kind    string `json:"kind"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details struct {
		Kind string `json:"kind"`
	} `json:"details"`
}

// statusOf reads the answer of a request that failed; the zero status if it is none.
func statusOf(answer []byte, err error) status {
	var s status
	if err == nil || json.Unmarshal(answer, &s) != nil || s.Kind != "Status" {
		return status{}
	}
	return s
}
