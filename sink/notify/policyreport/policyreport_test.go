package policyreport

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestSuite(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.Token = url, daemon.NewSecret(notifytest.Secret)
			return c
		},
		Reads: 1, Limit: 8 << 10,
		Answer: `{"apiVersion":"wgpolicyk8s.io/v1alpha2","kind":"PolicyReport","metadata":{"name":"gyre","resourceVersion":"7"},"results":[{"policy":"old","result":"fail"}]}`,
		Check: func(t *testing.T, r notifytest.Request) {
			var rep report
			if err := json.Unmarshal(r.Body, &rep); err != nil {
				t.Fatal(err)
			}
			if r.Method != "PUT" || r.Path != "/apis/wgpolicyk8s.io/v1alpha2/namespaces/prod/policyreports/gyre" || r.Header.Get("Authorization") != "Bearer "+notifytest.Secret || rep.Metadata["resourceVersion"] != "7" {
				t.Errorf("%s %s %s", r.Method, r.Path, r.Body)
			}
			if len(rep.Results) != 2 || rep.Summary["fail"] != 2 {
				t.Fatalf("got %+v", rep)
			}
			x := rep.Results[1]
			if x.Severity != "critical" || x.Result != "fail" || x.Policy != "Read sensitive file" || x.Timestamp != (timestamp{1_780_000_000, 123_456_789}) || x.Resources[0] != (resource{"v1", "Pod", "web-0", "prod"}) {
				t.Errorf("got %+v", x)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string {
			var rep report
			if err := json.Unmarshal(r.Body, &rep); err != nil {
				t.Fatal(err)
			}
			return rep.Results[1].Properties[idKey]
		},
	})
}

// api does what the API server does with these resources: versions, conflicts, and namespaces that are gone.
type api struct {
	mu       sync.Mutex
	objects  map[string]report
	version  int
	meddle   int // how many writes another comes before
	gone     string
	closing  string
	noCRD    bool
	requests []string
	token    string
}

func (a *api) refuse(w http.ResponseWriter, code int, kind, message string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "code": code, "message": message, "details": map[string]string{"kind": kind}})
}

// ServeHTTP answers.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, r.Method+" "+r.URL.Path)
	a.token = r.Header.Get("Authorization")
	if a.noCRD {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var in report
	_ = json.Unmarshal(body, &in)
	path := r.URL.Path
	if r.Method == http.MethodPost {
		path += "/" + in.Metadata["name"].(string)
	}
	if r.Method != http.MethodGet && a.meddle > 0 {
		a.meddle--
		a.version++
		o := a.objects[path]
		if o.Metadata == nil {
			o = report{APIVersion: apiVersion, Kind: "PolicyReport"}
		}
		o.Metadata = map[string]any{"name": "gyre", "resourceVersion": strconv.Itoa(a.version)}
		o.Results = append(o.Results, result{Policy: "of another", Result: "warn"})
		a.objects[path] = o
	}
	now, there := a.objects[path]
	switch {
	case r.Method == http.MethodGet && !there, r.Method == http.MethodPut && !there:
		a.refuse(w, 404, "policyreports", "not found")
		return
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(now)
		return
	case a.gone != "" && strings.Contains(path, "/namespaces/"+a.gone+"/"):
		a.refuse(w, 404, "namespaces", "namespaces not found")
		return
	case a.closing != "" && strings.Contains(path, "/namespaces/"+a.closing+"/"):
		a.refuse(w, 403, "policyreports", "unable to create new content in namespace x because it is being terminated")
		return
	case r.Method == http.MethodPost && there, r.Method == http.MethodPut && in.Metadata["resourceVersion"] != now.Metadata["resourceVersion"]:
		a.refuse(w, 409, "policyreports", "conflict")
		return
	}
	a.version++
	in.Metadata["resourceVersion"] = strconv.Itoa(a.version)
	a.objects[path] = in
	_ = json.NewEncoder(w).Encode(in)
}

const (
	inProd  = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/prod/policyreports/gyre"
	cluster = "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports/gyre"
)

func message(n byte, ns string) notify.Message {
	m := notifytest.Message()
	a := *m.Alert
	a.ID[0], a.K8s.Namespace, a.Output = n, ns, fmt.Sprint("alert ", n)
	m.Alert = &a
	return m
}

func TestReports(t *testing.T) {
	for _, tt := range []struct {
		name string
		api  *api
		want map[string][]string // messages of each report
		send []notify.Message
	}{
		{"by namespace", &api{}, map[string][]string{inProd: {"alert 1", "alert 3"}, cluster: {"alert 2"}}, []notify.Message{message(1, "prod"), message(2, ""), message(3, "prod"), message(1, "prod")}},
		{"another comes first", &api{meddle: 2}, map[string][]string{inProd: {"", "", "alert 1"}}, []notify.Message{message(1, "prod")}},
		{"no namespace", &api{gone: "prod"}, map[string][]string{cluster: {"alert 1"}}, []notify.Message{message(1, "prod")}},
		{"namespace closes", &api{closing: "prod"}, map[string][]string{cluster: {"alert 1"}}, []notify.Message{message(1, "prod")}},
		{"no name", &api{}, map[string][]string{cluster: {"alert 1", "alert 2"}}, []notify.Message{message(1, "../../../api/v1/secrets"), message(2, "a/b")}},
		{"cut", &api{}, map[string][]string{inProd: {"alert 2", "alert 3", "alert 4"}}, []notify.Message{message(1, "prod"), message(2, "prod"), message(3, "prod"), message(4, "prod")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.api.objects = map[string]report{}
			srv := httptest.NewServer(tt.api)
			defer srv.Close()
			c := Default()
			c.URL, c.MaxResults = srv.URL, 3
			n := notifytest.Open(t, c, notifytest.Env(t.Output()))
			for range 2 { // the second time changes nothing
				if err := n.Notify(t.Context(), tt.send); err != nil && tt.name != "cut" {
					t.Fatal(err)
				}
				if tt.name == "cut" {
					break
				}
			}
			if len(tt.api.objects) != len(tt.want) {
				t.Errorf("%d reports: %v", len(tt.api.objects), tt.api.requests)
			}
			for path, want := range tt.want {
				rep, got := tt.api.objects[path], []string{}
				for _, x := range rep.Results {
					got = append(got, x.Message)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) || rep.Summary["fail"]+rep.Summary["warn"] != len(want) {
					t.Errorf("%s has %q %v, want %q", path, got, rep.Summary, want)
				}
			}
		})
	}
}

func TestTransient(t *testing.T) {
	for name, a := range map[string]*api{"always a conflict": {meddle: 1000}, "no definition": {noCRD: true}} {
		a.objects = map[string]report{}
		srv := httptest.NewServer(a)
		c := Default()
		c.URL = srv.URL
		if err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{message(1, "prod")}); err == nil || bus.IsPermanent(err) {
			t.Errorf("%s: %v", name, err)
		}
		srv.Close()
	}
}

// TestTokenIsReadAgain: Kubernetes replaces the token of a service account every hour.
func TestTokenIsReadAgain(t *testing.T) {
	a := &api{objects: map[string]report{}}
	srv := httptest.NewServer(a)
	defer srv.Close()
	c := Default()
	path := filepath.Join(t.TempDir(), "token")
	write := func(v string) {
		if err := os.WriteFile(path, []byte(v+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c.URL, c.Token = srv.URL, daemon.SecretFile(path)
	n := notifytest.Open(t, c, notifytest.Env(t.Output()))
	for i, v := range []string{"first", "second"} {
		write(v)
		if err := n.Notify(t.Context(), []notify.Message{message(byte(i), "prod")}); err != nil || a.token != "Bearer "+v {
			t.Errorf("%s %v", a.token, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, set := range []func(*Config){func(c *Config) { c.URL = "" }, func(c *Config) { c.Report = "A/b" }, func(c *Config) { c.MaxResults = 0 }, func(c *Config) { c.MaxResults = 5000 }} {
		c := Default()
		c.URL = "https://kubernetes.default.svc"
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if set(c); c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
