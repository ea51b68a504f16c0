package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type store struct {
	DSN      string            `yaml:"dsn" doc:"Where the store is."`
	Password Secret            `yaml:"password" doc:"Password of the user."`
	Headers  map[string]string `yaml:"headers" doc:"Added to every request."`
	Tokens   map[string]Secret `yaml:"tokens" doc:"One token per tenant."`
}

type target struct {
	Name string `yaml:"name"`
	Port uint16 `yaml:"port"`
}

type common struct {
	Workers int `yaml:"workers" doc:"How many run at once."`
}

type sinkConfig struct {
	Common   common        `yaml:",inline"`
	Batch    int           `yaml:"batch" doc:"Rows per insert."`
	MaxBytes Bytes         `yaml:"max_bytes" doc:"Bytes per insert.\nA second line."`
	Wait     time.Duration `yaml:"wait" doc:"Longest wait for a full batch."`
	Ratio    float64       `yaml:"ratio"`
	On       bool          `yaml:"on"`
	Level    slog.Level    `yaml:"level"`
	Tags     []string      `yaml:"tags"`
	Store    store         `yaml:"store" doc:"The database."`
	Targets  []target      `yaml:"targets"`
}

func (c sinkConfig) Validate() error {
	var errs []error
	if c.Batch < 0 {
		errs = append(errs, Hint(errors.New("batch is negative"), "set batch to 1 or more"))
	}
	if c.Wait < 0 {
		errs = append(errs, errors.New("wait is negative"))
	}
	return errors.Join(errs...)
}

func defaults() sinkConfig {
	return sinkConfig{
		Common: common{Workers: 2}, Batch: 100, MaxBytes: 64 * MiB, Wait: 90 * time.Minute, Ratio: 0.25,
		Tags:    []string{"a", "no", "1", "x: y", "tab\t\"q\"", "", "ü # c", "nats://127.0.0.1:4222"},
		Store:   store{DSN: "clickhouse://localhost:9000/gyre?x=1", Headers: map[string]string{"X-A": "b", "true": "007"}},
		Targets: []target{{"one", 1}, {"two", 65535}},
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gyre.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func options(path string, c *sinkConfig) LoadOptions {
	return LoadOptions{Path: path, EnvPrefix: "GYRE", Environ: []string{}, Sections: map[string]any{"sink": c}, Known: []string{"collector"}}
}

var exported = cmp.FilterPath(func(p cmp.Path) bool {
	f, ok := p.Last().(cmp.StructField)
	return ok && f.Name() == "hidden"
}, cmp.Ignore())

func TestDefaultsRoundTrip(t *testing.T) {
	want := defaults()
	var b bytes.Buffer
	if err := PrintDefaults(&b, map[string]any{"sink": &want, "log": DefaultLogConfig(), "admin": DefaultAdminConfig()}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"  # Rows per insert.\n  batch: 100\n", "  # A second line.\n  max_bytes: 64MiB\n", "  wait: 1h30m\n", "    # password_file: \"\"\n", "  level: INFO\n"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("no %q in\n%s", text, b.String())
		}
	}
	var got sinkConfig
	var log LogConfig
	var admin AdminConfig
	o := options(writeFile(t, b.String()), &got)
	o.Sections["log"], o.Sections["admin"] = &log, &admin
	if err := Load(o); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if diff := cmp.Diff(want, got, exported); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, b.String())
	}
	if log != DefaultLogConfig() || admin != DefaultAdminConfig() {
		t.Errorf("log %+v, admin %+v", log, admin)
	}
}

func TestPrecedence(t *testing.T) {
	path := writeFile(t, `
collector: {anything: [goes, here]}
sink:
  batch: 1
  wait: 2s
  max_bytes: 10GB
  workers: 9
  tags: [file]
  store:
    password_file: /run/secret
    headers: {only: this}
  targets:
    - name: three
      port: 3
`)
	got := defaults()
	o := options(path, &got)
	o.Environ = []string{"GYRE_SINK_WAIT=3s", "GYRE_SINK_MAX_BYTES=1KiB", "GYRE_SINK_TAGS=x, y", "GYRE_SINK_STORE_PASSWORD=hunter2", "GYRE_OTHER=1", "GYRE_SINK_PORT_9000_TCP=tcp://10.0.0.1:9000"}
	o.Sets = []string{"sink.max_bytes=2KiB", "sink.store.headers.more=x=y", "sink.level=warn", "sink.ratio=1"}
	if err := Load(o); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Batch, want.Wait, want.MaxBytes, want.Common.Workers = 1, 3*time.Second, 2*KiB, 9
	want.Tags, want.Level, want.Ratio = []string{"x", "y"}, slog.LevelWarn, 1
	want.Store.Password = NewSecret("hunter2")
	want.Store.Headers = map[string]string{"only": "this", "more": "x=y"}
	want.Targets = []target{{"three", 3}}
	if diff := cmp.Diff(want, got, exported); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name string
		file string
		env  []string
		sets []string
		want []string // "place: key: message | hint", all of them in order; each part may be shortened
	}{
		{"unknown key", "sink:\n  bacth: 1\n", nil, nil, []string{`F:2:3: sink.bacth: unknown key|did you mean "batch"?`}},
		{"camel case", "sink:\n  maxBytes: 1\n", nil, nil, []string{`F:2:3: sink.maxBytes: unknown key|did you mean "max_bytes"?`}},
		{"nested unknown", "sink:\n  store:\n    host: x\n", nil, nil, []string{`F:3:5: sink.store.host: unknown key|the valid keys are dsn, headers, password_file, tokens`}},
		{"unknown section", "sinks:\n  batch: 1\n", nil, nil, []string{`F:1:1: sinks: unknown section|did you mean "sink"?`}},
		{"wrong types", "sink:\n  batch: \"5\"\n  on: yes\n  wait: 5\n  tags: x\n  store: 3\n  max_bytes: 5 parsecs\n  ratio: many\n", nil, nil, []string{
			`F:2:10: sink.batch: want a whole number, got the text "5"|give it a whole number`,
			`F:3:7: sink.on: want true or false, got the text "yes"|`,
			`F:4:9: sink.wait: want a duration such as 500ms, 10s or 1h30m, got the number 5|`,
			`F:5:9: sink.tags: want a list, got the text "x"|write one item per line`,
			`F:6:10: sink.store: want a group of keys, got the number 3|`,
			`F:7:14: sink.max_bytes: size "5 parsecs" is not a number with a unit|`,
			`F:8:10: sink.ratio: want a number, got the text "many"|`,
		}},
		{"text in quotes", "sink:\n  store:\n    dsn: 5\n", nil, nil, []string{`F:3:10: sink.store.dsn: want text, got the number 5|put the value in quotes`}},
		{"out of range", "sink:\n  targets:\n    - name: x\n      port: 70000\n", nil, nil, []string{`F:4:13: sink.targets[0].port: 70000 is out of range|`}},
		{"duplicate", "sink:\n  batch: 1\n  wait: 1s\n  batch: 2\nsink:\n  batch: 3\n", nil, nil, []string{`F:5:1: sink: key repeated, first on line 1|`, `F:4:3: sink.batch: key repeated, first on line 2|keep one`}},
		{"no value", "sink:\n  batch:\n", nil, nil, []string{`F:2:3: sink.batch: no value|give it a whole number`}},
		{"literal secret", "sink:\n  store:\n    password: hunter2\n", nil, nil, []string{`F:3:5: sink.store.password: a secret cannot be written|GYRE_SINK_STORE_PASSWORD`}},
		{"secret in map", "sink:\n  store:\n    tokens:\n      acme: hunter2\n", nil, nil, []string{`F:4:7: sink.store.tokens.acme: a secret cannot be written|acme_file`}},
		{"syntax", "sink:\n  batch: [1\n", nil, nil, []string{`F:2:10: not valid YAML|correct the YAML`}},
		{"anchor", "sink:\n  batch: &x 1\n  workers: *x\n", nil, nil, []string{`F:2:10: sink.batch: an anchor is not supported|`, `F:3:12: sink.workers: an alias is not supported|`}},
		{"two documents", "sink: {}\n---\nsink: {}\n", nil, nil, []string{`second YAML document|`}},
		{"not a mapping", "- a\n", nil, nil, []string{`F:1:1: want a group of keys, got a list|`}},
		{"environment", "", []string{"GYRE_SINK_BATCH=x", "GYRE_SINK_WIAT=1s"}, nil, []string{`environment: GYRE_SINK_BATCH: want a whole number, got "x"|`, `environment: GYRE_SINK_WIAT: unknown setting|did you mean "GYRE_SINK_WAIT"?`}},
		{"map in environment", "", []string{"GYRE_SINK_STORE_TOKENS=a=hunter2", "GYRE_SINK_STORE_HEADERS=x"}, nil, []string{
			`environment: GYRE_SINK_STORE_HEADERS: want key=value,key=value, got "x"|`,
			`environment: GYRE_SINK_STORE_TOKENS: is a group of keys: set it in the file|`,
		}},
		{"service link", "", []string{"GYRE_SINK_SERVICE_HOST=10.1.1.1", "GYRE_SINK_SERVICE_PORT=80"}, nil, nil},
		{"command line", "", nil, []string{"sink.batch", "sonk.batch=1", "sink.wiat=1s", "sink.batch=x", "sink.store.password=x", "sink.store=1"}, []string{
			`command line: sink.batch: no value|section.key=value`,
			`command line: sonk.batch: unknown section "sonk"|did you mean "sink"?`,
			`command line: sink.wiat: unknown key "wiat"|did you mean "wait"?`,
			`command line: sink.batch: want a whole number, got "x"|`,
			`command line: sink.store.password: a secret cannot be given|password_file`,
			`command line: sink.store: is a group of keys|`,
		}},
		{"validation", "sink:\n  batch: -1\n  wait: -1s\n", nil, nil, []string{`F: sink: batch is negative|set batch to 1 or more`, `F: sink: wait is negative|`}},
		{"empty sections", "# nothing\nsink:\n  # batch: 1\n", nil, nil, nil},
		{"empty file", "", nil, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := defaults()
			path := writeFile(t, tt.file)
			o := options(path, &got)
			o.Environ, o.Sets = append(o.Environ, tt.env...), tt.sets
			err := Load(o)
			var list ConfigErrors
			if err != nil && !errors.As(err, &list) {
				t.Fatal(err)
			}
			if len(list) != len(tt.want) {
				t.Fatalf("want %d errors, got %d:\n%v", len(tt.want), len(list), err)
			}
			for i, e := range list {
				msg, hint, _ := strings.Cut(tt.want[i], "|")
				text := strings.Replace(e.Error(), path, "F", 1)
				if !strings.Contains(text, msg) || !strings.Contains(e.Hint, hint) {
					t.Errorf("want %s\n got %s|%s", tt.want[i], text, e.Hint)
				}
				if strings.Contains(text+e.Hint, "hunter2") {
					t.Errorf("secret in %s", text)
				}
			}
			if diff := cmp.Diff(defaults(), got, exported); diff != "" {
				t.Errorf("sections changed (-want +got)\n%s", diff)
			}
		})
	}
}

func TestLoadRefusesProgramDefects(t *testing.T) {
	var ptr struct {
		P *int `yaml:"p"`
	}
	for name, s := range map[string]any{"value": sinkConfig{}, "pointer field": &ptr, "nil": (*sinkConfig)(nil)} {
		if err := Load(LoadOptions{Sections: map[string]any{"x": s}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	err := Load(LoadOptions{Path: "/nonexistent/gyre.yaml"})
	if !errors.Is(err, os.ErrNotExist) || Remedy(err) == "" {
		t.Errorf("missing file: %v", err)
	}
}

func TestPrintHidesSecrets(t *testing.T) {
	c := defaults()
	c.Store.Password = NewSecret("hunter2")
	c.Store.Tokens = map[string]Secret{"acme": NewSecret("hunter2"), "b": SecretFile("/run/b")}
	var b bytes.Buffer
	if err := Print(&b, map[string]any{"sink": c}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"    password: <secret>\n", "      acme: <secret>\n", "      b_file: /run/b\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "#") && strings.Contains(b.String(), "# Rows") {
		t.Errorf("printed\n%s", b.String())
	}
}

func FuzzLoad(f *testing.F) {
	var b bytes.Buffer
	d := defaults()
	if err := PrintDefaults(&b, map[string]any{"sink": &d}); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{b.String(), "sink: &a {b: *a}", "? a\n: b", "sink:\n  tags:\n  - - a", "!!x 1", "<<: {a: b}", "sink: |\n  x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c sinkConfig
		o := options("fuzz.yaml", &c)
		l := &loader{opts: o, sections: map[string]reflectValue{"sink": valueOf(&c)}}
		l.decodeFile([]byte(text))
		for _, e := range l.errs {
			if e.Msg == "" {
				t.Errorf("error without message: %+v", e)
			}
		}
	})
}

// FuzzQuote checks that any text survives being printed and read.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "yes", "~", "- a", "a: b", "a #b", "0x1", "1e3", "\u2028", "\x7f", "\x00", "a\nb", "'", "\\", "%", "@x", "2020-01-01", ".inf", "e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isPlainUTF8(s) {
			t.Skip("YAML cannot hold it")
		}
		type text struct {
			S string `yaml:"s"`
		}
		var got text
		l := &loader{opts: LoadOptions{Path: "fuzz.yaml"}, sections: map[string]reflectValue{"a": valueOf(&got)}}
		var b bytes.Buffer
		if err := Print(&b, map[string]any{"a": text{s}}); err != nil {
			t.Fatal(err)
		}
		l.decodeFile(b.Bytes())
		if len(l.errs) > 0 || got.S != s {
			t.Errorf("want %q, got %q from %s: %v", s, got.S, b.String(), l.errs)
		}
	})
}

func TestSecretNeverPrints(t *testing.T) {
	s := struct {
		Name   string
		Secret Secret
		inner  Secret
	}{"n", NewSecret("hunter2"), NewSecret("hunter2")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s.Secret, "all", s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s.Secret, "all", s)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+" "+verb+" "+verb+"\n", s, &s, s.Secret)
	}
	if strings.Contains(log.String(), "hunter2") || strings.Contains(log.String(), "68756e746572") {
		t.Errorf("printed:\n%s", log.String())
	}
	path := writeFile(t, "from file\n")
	for want, s := range map[string]Secret{"hunter2": s.Secret, "from file": SecretFile(path), "": {}} {
		if got, err := s.Resolve(); err != nil || got != want {
			t.Errorf("Resolve: want %q, got %q, %v", want, got, err)
		}
	}
	if _, err := SecretFile(path + "x").Resolve(); !errors.Is(err, os.ErrNotExist) || Remedy(err) == "" {
		t.Errorf("missing file: %v", err)
	}
	if !NewSecret("a").Equal(NewSecret("a")) || NewSecret("a").Equal(NewSecret("b")) || NewSecret("").Equal(Secret{}) {
		t.Error("Equal is wrong")
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "512": 512, "64MiB": 64 << 20, "10GB": 1e10, "1.5 kib": 1536, "3TiB": 3 << 40, "7b": 7} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
		if again, err := ParseBytes(got.String()); err != nil || again != got {
			t.Errorf("round trip of %s: %d, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.2.3KB", "9999999TiB", "0.3B", "5 parsecs", "99999999999999999999"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d", text, got)
		}
	}
}
