package cloud

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(w http.ResponseWriter, r *http.Request)
		want  factv1.Cloud
	}{
		{"aws", func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "":
				fmt.Fprint(w, "secret")
			case r.URL.Path == "/latest/dynamic/instance-identity/document" && r.Header.Get("X-aws-ec2-metadata-token") == "secret":
				fmt.Fprint(w, `{"accountId":"1","availabilityZone":"eu-west-1a","region":"eu-west-1","instanceId":"i-7","instanceType":"m7i.large"}`)
			default:
				http.NotFound(w, r)
			}
		}, factv1.Cloud{Provider: "aws", Region: "eu-west-1", Zone: "eu-west-1a", InstanceID: "i-7", InstanceType: "m7i.large", Account: "1"}},
		{"gcp", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/computeMetadata/v1/instance/" || r.Header.Get("Metadata-Flavor") != "Google" {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, `{"id":4711000000000000001,"zone":"projects/12/zones/europe-west1-b","machineType":"projects/12/machineTypes/e2-small"}`)
		}, factv1.Cloud{Provider: "gcp", Region: "europe-west1", Zone: "europe-west1-b", InstanceID: "4711000000000000001", InstanceType: "e2-small", Account: "12"}},
		{"azure", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/metadata/instance" || r.Header.Get("Metadata") != "true" {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, `{"compute":{"location":"westeurope","zone":"2","vmId":"v","vmSize":"D2","subscriptionId":"s"}}`)
		}, factv1.Cloud{Provider: "azure", Region: "westeurope", Zone: "2", InstanceID: "v", InstanceType: "D2", Account: "s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(tt.serve))
			defer srv.Close()
			got, err := Ask(t.Context(), srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestNothingAnswers(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"refuses": http.NotFound,
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"empty":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.invalid/", http.StatusFound)
		},
	} {
		srv := httptest.NewServer(serve)
		if _, err := Ask(t.Context(), srv.URL); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
		srv.Close()
	}
	if _, err := Ask(t.Context(), "http://127.0.0.1:1"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}
