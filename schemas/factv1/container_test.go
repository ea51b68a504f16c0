package factv1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestContainerRoundTrip(t *testing.T) {
	yes := true
	want := Container{
		V: Version, ID: strings.Repeat("ab", 32), Runtime: "containerd", Sources: []string{"cri"}, Name: "web", Image: "docker.io/library/nginx:1.27",
		ImageRepo: "docker.io/library/nginx", ImageTag: "1.27", Privileged: &yes, HostPID: true, Started: 7,
		Labels: map[string]string{"a": "b"}, Mounts: []Mount{{Source: "/proc", Dest: "/host/proc", Mode: "ro", Propagation: "private"}},
		Env: []string{"PATH"}, PodName: "web-0", PodNamespace: "shop", PodUID: "u", PodLabels: map[string]string{"app": "web"},
		Users: []User{{Name: "root"}}, Groups: []Group{{Name: "root"}},
	}
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeContainer(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
}

func TestContainerIsBounded(t *testing.T) {
	c := Container{ID: "x", Labels: map[string]string{"big": strings.Repeat("é", MaxText)}}
	for i := range 2 * MaxLabels {
		c.Labels[fmt.Sprint(i)] = "v"
	}
	c.Mounts = make([]Mount, 2*MaxMounts)
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeContainer(data)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Truncated || len(got.Labels) != MaxLabels || len(got.Mounts) != MaxMounts {
		t.Errorf("truncated %v, %d labels, %d mounts", got.Truncated, len(got.Labels), len(got.Mounts))
	}
	if len(c.Mounts) != 2*MaxMounts {
		t.Error("the writer's own fact was changed")
	}
}

func TestContainerFitsAMessage(t *testing.T) {
	c := Container{ID: "x", Name: "web", Labels: map[string]string{}, Mounts: []Mount{{Dest: "/a"}}}
	for i := range MaxLabels {
		c.Labels[fmt.Sprint(i)] = strings.Repeat("v", MaxText)
	}
	data, err := c.Encode()
	if err != nil || len(data) > MaxContainer {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	got, err := DecodeContainer(data)
	if err != nil || !got.Truncated || got.Labels != nil || got.Name != "web" || len(got.Mounts) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestContainerRefused(t *testing.T) {
	for data, want := range map[string]error{`{"v":1}`: ErrMalformed, `{"v":2,"id":"x"}`: ErrVersion, `[]`: ErrMalformed} {
		if _, err := DecodeContainer([]byte(data)); !errors.Is(err, want) {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestSplitImage(t *testing.T) {
	id := strings.Repeat("0f", 32)
	for name, want := range map[string][3]string{
		"nginx":                            {"nginx", "", ""},
		"nginx:1.27":                       {"nginx", "1.27", ""},
		"registry:5000/team/app":           {"registry:5000/team/app", "", ""},
		"registry:5000/a:1@sha256:" + id:   {"registry:5000/a", "1", "sha256:" + id},
		"docker.io/library/a@sha256:" + id: {"docker.io/library/a", "", "sha256:" + id},
		"sha256:" + id:                     {},
		id:                                 {},
		"localhost/empty:":                 {"localhost/empty", "", ""},
		"":                                 {},
	} {
		repo, tag, digest := SplitImage(name)
		if got := [3]string{repo, tag, digest}; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func FuzzContainer(f *testing.F) {
	f.Add([]byte(`{"v":1,"id":"3f","mounts":[{"dest":"/a"}],"labels":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeContainer(data)
		if err != nil {
			return
		}
		if _, err := c.Encode(); err != nil {
			t.Fatal(err)
		}
		SplitImage(c.Image)
	})
}
