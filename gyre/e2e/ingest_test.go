package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// falcoAlert is what a node with Falco posts, with a place for the time: ClickHouse does not keep old alerts.
const falcoAlert = `{"hostname":"falco-node","output":"10:40:00.000000001: Warning Sensitive file opened | file=/etc/shadow","output_fields":{"container.id":"host","fd.name":"/etc/shadow","proc.name":"cat","proc.pid":42,"user.name":"root"},"priority":"Warning","rule":"Read sensitive file untrusted","source":"syscall","tags":["T1555"],"time":"%s"}`

// TestIngest: what a Falco node posts is an alert on the stream, in ClickHouse, and at the outputs; once, however often it is posted.
func TestIngest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	alert := fmt.Sprintf(falcoAlert, time.Now().UTC().Format(time.RFC3339Nano))
	dir := filepath.Join(t.TempDir(), "data")
	up := start(t, nil, "gyre", "up", "--json", "--no-collector", "--data-dir", dir, "--set", "sink.ingest.listen="+addr, "--set", "sink.ingest.token_file="+token)
	ready(t, dir)
	post := func(url, body string) (int, error) {
		resp, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	eventually(t, "the endpoint", func() error {
		code, err := post("http://falco:hush@"+addr+"/", alert)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	for _, tt := range []struct {
		url, body string
		want      int
	}{
		{"http://" + addr + "/?token=hush", alert, http.StatusOK},
		{"http://" + addr + "/", alert, http.StatusUnauthorized},
		{"http://" + addr + "/?token=hush", `{"rule":"x"}`, http.StatusBadRequest},
	} {
		if code, err := post(tt.url, tt.body); err != nil || code != tt.want {
			t.Errorf("%s: %d, want %d, %v", tt.url, code, tt.want, err)
		}
	}
	var stored []struct {
		ID, Rule, Node, RuleID string
	}
	eventually(t, "the alert in ClickHouse", func() error {
		out, e, err := gyre("alerts", "--json", "--data-dir", dir)
		if err != nil {
			return says(err, e)
		}
		stored = nil
		d := json.NewDecoder(strings.NewReader(out))
		for d.More() {
			stored = append(stored, struct{ ID, Rule, Node, RuleID string }{})
			if err := d.Decode(&stored[len(stored)-1]); err != nil {
				return err
			}
		}
		if len(stored) == 0 {
			return errors.New("not there")
		}
		return nil
	})
	if len(stored) != 1 || stored[0].Rule != "Read sensitive file untrusted" || stored[0].Node != "falco-node" {
		t.Errorf("stored %+v", stored)
	}
	eventually(t, "the alert on standard output", func() error {
		if !strings.Contains(up.out.String(), stored[0].ID) {
			return errors.New("not there")
		}
		return nil
	})
	out, e, err := gyre("query", "--format", "csv", "SELECT count() AS n, any(output) AS o FROM alerts", "--data-dir", dir)
	if err != nil || out != "n,o\n1,Sensitive file opened | file=/etc/shadow\n" {
		t.Errorf("%v %s\n%s", err, e, out)
	}
	up.stop(t)
}
