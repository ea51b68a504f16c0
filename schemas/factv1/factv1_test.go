package factv1

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostRoundTrip(t *testing.T) {
	want := Host{V: Version, Node: "web1", BootID: "b", BootTime: 5, Kernel: "6.1.0", Machine: "x86_64", CPUs: 2, OSID: "debian", OSVersion: "12", OSName: "Debian 12", Capture: "tracepoint"}
	in := want
	in.V = 0
	data, err := in.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHost(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
}

func TestUsersRoundTrip(t *testing.T) {
	want := Users{V: Version, Users: []User{{UID: 0, Name: "root", Home: "/root", Shell: "/bin/sh"}}, Groups: []Group{{GID: 0, Name: "root"}}}
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeUsers(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

func TestFrozenForms(t *testing.T) {
	h, err := DecodeHost([]byte(`{"v":1,"node":"web1","boot_id":"x","boot_time":7,"kernel":"6.1","later":{"a":[1]}}`))
	if err != nil || h.Node != "web1" || h.Kernel != "6.1" || h.BootTime != 7 {
		t.Errorf("host = %+v, %v", h, err)
	}
	u, err := DecodeUsers([]byte(`{"v":1,"users":[{"uid":4294967294,"gid":1,"name":"nobody"}],"groups":[{"gid":1,"name":"daemon"}]}`))
	if err != nil || u.Users[0].UID != 4294967294 || u.Groups[0].Name != "daemon" {
		t.Errorf("users = %+v, %v", u, err)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       error
	}{
		{"version", `{"v":2,"node":"a"}`, ErrVersion},
		{"no version", `{"node":"a"}`, ErrVersion},
		{"not json", `{`, ErrMalformed},
		{"wrong type", `{"v":1,"users":7,"node":7}`, ErrMalformed},
		{"too large", string(make([]byte, MaxSize+1)), ErrMalformed},
	} {
		if _, err := DecodeHost([]byte(tt.data)); !errors.Is(err, tt.want) {
			t.Errorf("host, %s: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := DecodeUsers([]byte(tt.data)); !errors.Is(err, tt.want) {
			t.Errorf("users, %s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestKeys(t *testing.T) {
	if got := UsersKey("web.1"); got != "web=2E1.users" {
		t.Errorf("UsersKey = %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"node":"web1"}`))
	f.Add([]byte(`{"v":1,"users":[{"uid":0}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = DecodeHost(data)
		_, _ = DecodeUsers(data)
	})
}
