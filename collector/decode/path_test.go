package decode

import (
	"path"
	"strings"
	"testing"
)

func TestJoin(t *testing.T) {
	for _, tt := range []struct{ dir, name, want string }{
		{"/home/ada", "x", "/home/ada/x"},
		{"/home/ada", "/etc/passwd", "/etc/passwd"},
		{"/home/ada", "../bob/./y//z", "/home/bob/y/z"},
		{"/", "x", "/x"},
		{"/", "..", "/"},
		{"/a", "../../../etc", "/etc"},
		{"/a/b/", ".", "/a/b"},
		{"/a", "..x/...", "/a/..x/..."},
		{"/a (deleted)", "x", "/a/x"},
		{"/a", "x/", "/a/x"},
		{"", "x", "x"},
		{"pipe:[1]", "x", "x"},
		{"/a", "", ""},
		{"/a", "//", "/"},
	} {
		if got := string(Join(nil, []byte(tt.dir), []byte(tt.name))); got != tt.want {
			t.Errorf("Join(%q, %q) = %q, want %q", tt.dir, tt.name, got, tt.want)
		}
		if got := string(Join([]byte("/keep/.."), []byte(tt.dir), []byte(tt.name))); got != "/keep/.."+tt.want {
			t.Errorf("Join(%q, %q) after other text = %q", tt.dir, tt.name, got)
		}
	}
}

func FuzzJoin(f *testing.F) {
	f.Add("/home/ada", "../x")
	f.Add("/", "/a/./../b")
	f.Fuzz(func(t *testing.T, dir, name string) {
		got := string(Join(nil, []byte(dir), []byte(name)))
		dir = strings.TrimSuffix(dir, deletedMark)
		if name == "" || !strings.HasPrefix(name, "/") && !strings.HasPrefix(dir, "/") {
			return
		}
		want := path.Clean(name)
		if name[0] != '/' {
			want = path.Clean(dir + "/" + name)
		}
		if got != want {
			t.Errorf("Join(%q, %q) = %q, want %q", dir, name, got, want)
		}
	})
}
