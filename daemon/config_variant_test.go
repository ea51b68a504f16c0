package daemon_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/daemon"
)

type circle struct {
	Radius int           `yaml:"radius"`
	Key    daemon.Secret `yaml:"key"`
}

type square struct {
	Side int `yaml:"side"`
}

type shape struct {
	Name  string `yaml:"name"`
	Type  string `yaml:"type"`
	Shape any    `yaml:",variant=type"`
}

func (shape) NewVariant(kind string) any {
	switch kind {
	case "circle":
		return &circle{Radius: 1}
	case "square":
		return &square{}
	}
	return nil
}

func (shape) VariantKinds() []string { return []string{"circle", "square"} }

type drawing struct {
	Shapes []shape `yaml:"shapes"`
}

func loadDrawing(t *testing.T, text string) (drawing, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var d drawing
	return d, daemon.Load(daemon.LoadOptions{Path: path, Sections: map[string]any{"drawing": &d}, Environ: []string{}})
}

func TestVariant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "drawing:\n  shapes:\n    - name: a\n      type: circle\n      radius: 5\n      key_env: SHAPE_KEY\n    - side: 3\n      type: square\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var d drawing
	sections := map[string]any{"drawing": &d}
	if err := daemon.Load(daemon.LoadOptions{Path: path, Sections: sections, Environ: []string{}}); err != nil {
		t.Fatal(err)
	}
	c, ok := d.Shapes[0].Shape.(*circle)
	if !ok || c.Radius != 5 || d.Shapes[0].Name != "a" {
		t.Fatalf("got %+v", d.Shapes[0])
	}
	if _, err := c.Key.Resolve(); err == nil || !strings.Contains(err.Error(), "SHAPE_KEY") {
		t.Errorf("a variable that is not set: %v", err)
	}
	t.Setenv("SHAPE_KEY", "hush")
	if v, err := c.Key.Resolve(); err != nil || v != "hush" {
		t.Errorf("the secret is %q, %v", v, err)
	}
	var out bytes.Buffer
	if err := daemon.Print(&out, sections); err != nil {
		t.Fatal(err)
	}
	want := "drawing:\n  shapes:\n    - name: a\n      type: circle\n      radius: 5\n      key_env: SHAPE_KEY\n    - name: \"\"\n      type: square\n      side: 3\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("print (-want +got)\n%s", d)
	}
}

func TestVariantErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want, hint string }{
		{"unknown kind", "drawing:\n  shapes:\n    - type: cirle\n", `c.yaml:3:13: drawing.shapes[0].type: unknown type "cirle"`, `did you mean "circle"?`},
		{"no kind", "drawing:\n  shapes:\n    - name: a\n", "drawing.shapes[0]: no type", "the valid types are circle, square"},
		{"key of another kind", "drawing:\n  shapes:\n    - type: square\n      radius: 3\n", "c.yaml:4:7: drawing.shapes[0].radius: unknown key", "the valid keys are name, side, type"},
		{"literal secret", "drawing:\n  shapes:\n    - type: circle\n      key: x\n", "a secret cannot be written", "shapes[0].key_env"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadDrawing(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			list := err.(daemon.ConfigErrors) //nolint:errorlint // Load returns the list itself
			if !strings.Contains(list[0].Hint, tt.hint) {
				t.Errorf("hint %q, want %s", list[0].Hint, tt.hint)
			}
		})
	}
}
