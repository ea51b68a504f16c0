package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type placed struct {
	Items []placedItem `yaml:"items"`
	Limit int          `yaml:"limit"`
}

type placedItem struct {
	Name string `yaml:"name"`
	Of   string `yaml:"of"`
}

// Validate finds something wrong everywhere.
func (placed) Validate() error {
	return errors.Join(At("limit", Hint(errors.New("too high"), "lower it")), At("items[1].of", errors.New("no such thing")), At("items[1].absent", errors.New("missing")), At("items[2]", errors.New("empty")), At("gone", errors.New("nowhere")), At("", errors.New("all")))
}

func TestValidationErrorsHavePlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("s:\n  limit: 7\n  items:\n    - name: a\n    - name: b\n      of: c\n    -\n      name: d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Load(LoadOptions{Path: file, Sections: map[string]any{"s": &placed{}}})
	var list ConfigErrors
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Error()[len(file):])
	}
	want := []string{":2:10: s.limit: too high", ":6:11: s.items[1].of: no such thing", ":5:7: s.items[1].absent: missing", ":8:7: s.items[2]: empty", ":1:1: s.gone: nowhere", ":1:1: s: all"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if list[0].Hint != "lower it" {
		t.Errorf("hint %q", list[0].Hint)
	}
}
