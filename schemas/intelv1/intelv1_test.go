package intelv1_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/intelv1"
)

func TestParse(t *testing.T) {
	const text = "# feed\n\n1.2.3.4\n10.1.2.3/8\n::ffff:9.9.9.9\n2001:DB8::/32\n*.Evil.Example.\n/tmp/../opt/x y\n/var/spool/bad/\n1.2.3.4\n" +
		"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855,empty\n; comment\n"
	p, err := intelv1.Parse(strings.NewReader(text), intelv1.Source{Name: "feed.txt"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/opt/x y", "/var/spool/bad/", "1.2.3.4", "10.0.0.0/8", "2001:db8::/32", "9.9.9.9",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "evil.example",
	}
	if d := cmp.Diff(want, p.Entries); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestColumns(t *testing.T) {
	p, err := intelv1.Parse(strings.NewReader("0.0.0.0 a.example\n0.0.0.0\tb.example\n2024;\"c.example\";x\n"), intelv1.Source{Name: "hosts", Column: 2, Type: intelv1.Domain})
	if err != nil || !slices.Equal(p.Entries, []string{"a.example", "b.example", "c.example"}) {
		t.Errorf("%v %v", p.Entries, err)
	}
}

func TestBadSources(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		src              intelv1.Source
	}{
		{"html", "<html>\n<body>\n", `f:1: "<html>" is no domain name`, intelv1.Source{}},
		{"type", "1.2.3.4\nevil.example\n", `f:2: "evil.example" is no address or network`, intelv1.Source{Type: intelv1.IP}},
		{"many", "1.1.1.1\n1.1.1.2\n1.1.1.3\n", "f:3: more than 2 indicators", intelv1.Source{MaxEntries: 2}},
		{"line", strings.Repeat("x", 1<<17), "f:1:", intelv1.Source{}},
		{"sum", strings.Repeat("g", 64), "is no SHA-256", intelv1.Source{Type: intelv1.SHA256}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.src.Name = "f"
			if _, err := intelv1.Parse(strings.NewReader(c.text), c.src); !errors.Is(err, intelv1.ErrSource) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	var few strings.Builder
	for i := range 40 {
		fmt.Fprintf(&few, "10.0.0.%d\n", i)
	}
	few.WriteString("what is this\n")
	p, err := intelv1.Parse(strings.NewReader(few.String()), intelv1.Source{Name: "f"})
	if err != nil || p.Skipped != 1 || len(p.Entries) != 40 || !strings.Contains(p.FirstBad.Error(), "f:41") {
		t.Errorf("%d skipped, first %v, %v", p.Skipped, p.FirstBad, err)
	}
}

func TestPack(t *testing.T) {
	var in []string
	for i := range 200_000 {
		in = append(in, fmt.Sprintf("host%06d.example", i))
	}
	m, chunks, err := intelv1.Pack("big", "x", in, time.Unix(5, 0))
	if err != nil || len(chunks) < 2 || m.Chunks != len(chunks) {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	var out []string
	for _, c := range chunks {
		if len(c) > 1<<20 {
			t.Errorf("a chunk of %d bytes", len(c))
		}
		if err := intelv1.Unpack(c, func(b []byte) { out = append(out, string(b)) }); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(in, out) {
		t.Error("not what was packed")
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := intelv1.Decode(data)
	m.V = 1
	if d := cmp.Diff(m, got); d != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, d)
	}
	for _, bad := range []string{"", "{}", `{"v":2}`, `{"v":1,"name":"a.b"}`, `{"v":1,"name":"a","digest":"x.y"}`, `{"v":1,"name":"a","digest":"x","chunks":99999}`} {
		if _, err := intelv1.Decode([]byte(bad)); err == nil {
			t.Errorf("%q decodes", bad)
		}
	}
	if err := intelv1.Unpack([]byte("garbage"), func([]byte) {}); !errors.Is(err, intelv1.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1.2.3.4\nevil.example\n/x y\n")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := intelv1.Parse(strings.NewReader(s), intelv1.Source{Name: "f"})
		if err != nil {
			return
		}
		for _, e := range p.Entries {
			again, typ, err := intelv1.Normal(e, intelv1.TypeOf([]byte(e)))
			if err != nil || again != e {
				t.Errorf("%q of type %s normalises to %q, %v", e, typ, again, err)
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	_, chunks, _ := intelv1.Pack("l", "", []string{"1.2.3.4"}, time.Time{})
	f.Add(chunks[0])
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = intelv1.Unpack(data, func([]byte) {})
		_, _ = intelv1.Decode(data)
	})
}
