package sink

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/catalog"
	"github.com/gyre-sec/gyre/sink/route"
)

// Names of durable consumers.
const (
	// DurablePrefix and the name of an output make the name of its durable.
	DurablePrefix  = "sink-"
	clickHouseName = "clickhouse"
)

// Output is one place where alerts are sent.
type Output struct {
	Name        string            `yaml:"name" doc:"unique; the position in the stream is kept under it"`
	Type        string            `yaml:"type" doc:"what it is"`
	route.Match `yaml:",inline"`  // what it takes of what it is sent
	Title       string            `yaml:"title" doc:"template of the title"`
	Text        string            `yaml:"text" doc:"template of the text"`
	Severities  map[string]string `yaml:"severities" doc:"words for priorities, such as critical: P1"`
	AddFields   map[string]string `yaml:"add_fields" doc:"fields added to each alert; the values are templates"`
	AddTags     []string          `yaml:"add_tags" doc:"tags added to each alert"`
	Timeout     time.Duration     `yaml:"timeout" doc:"how long one attempt may take"`
	MaxBackoff  time.Duration     `yaml:"max_backoff" doc:"longest pause between attempts while the service is down"`
	GiveUpAfter time.Duration     `yaml:"give_up_after" doc:"an alert that failed for so long goes to the stream DEAD; 0 means 24h, -1s means never"`
	Rate        float64           `yaml:"rate" doc:"requests in a second at the most; 0 means no limit"`
	Concurrency int               `yaml:"concurrency" doc:"requests at once"`
	BatchMax    int               `yaml:"batch_max" doc:"alerts in one request; 0 means what suits the type"`
	BatchWait   time.Duration     `yaml:"batch_wait" doc:"how long an alert waits for others; 0 means what suits the type"`
	Pending     int               `yaml:"pending" doc:"alerts in memory that are not settled"`
	FromStart   bool              `yaml:"from_start" doc:"an output that is new gets what is in the stream already"`
	Settings    any               `yaml:",variant=type"`
}

// NewOutput returns an output with the defaults of its type.
func NewOutput(name, kind string) Output {
	o := Output{Name: name, Type: kind}
	o.Settings = o.NewVariant(kind)
	return o.withDefaults()
}

// NewVariant returns the settings of a type.
func (Output) NewVariant(kind string) any {
	if s := catalog.New(kind); s != nil {
		return s
	}
	return nil
}

// VariantKinds lists the types.
func (Output) VariantKinds() []string { return catalog.Kinds() }

// withDefaults fills in what is 0.
func (o Output) withDefaults() Output {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Timeout, 10*time.Second)
	def(&o.MaxBackoff, time.Minute)
	def(&o.GiveUpAfter, 24*time.Hour)
	n, wait := 1, time.Duration(0)
	if b, ok := o.Settings.(notify.Batcher); ok {
		n, wait = b.Batch()
	}
	if o.BatchMax == 0 {
		o.BatchMax = n
	}
	def(&o.BatchWait, wait)
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	if o.Pending == 0 {
		o.Pending = max(1000, 4*o.BatchMax)
	}
	return o
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,47}$`)

// Validate checks one output.
func (o Output) Validate() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if !nameForm.MatchString(o.Name) || o.Name == clickHouseName || o.Name == route.Nobody || strings.Contains(o.Name, replayPart) {
		add(fmt.Errorf("name is %q, want lower-case letters, digits, - and _, at most 48, not clickhouse, not none and without %s", o.Name, replayPart))
	}
	o = o.withDefaults()
	for _, d := range []struct {
		key      string
		v        time.Duration
		lo, most time.Duration
	}{
		{"timeout", o.Timeout, time.Millisecond, 10 * time.Minute},
		{"max_backoff", o.MaxBackoff, time.Millisecond, time.Hour},
		{"give_up_after", o.GiveUpAfter, -time.Second, 30 * 24 * time.Hour},
		{"batch_wait", o.BatchWait, 0, time.Minute},
	} {
		if d.v < d.lo || d.v > d.most {
			add(fmt.Errorf("%s is %s, want %s to %s", d.key, d.v, d.lo, d.most))
		}
	}
	for _, n := range []struct {
		key      string
		v        int
		lo, most int
	}{{"concurrency", o.Concurrency, 1, 64}, {"batch_max", o.BatchMax, 1, 10_000}, {"pending", o.Pending, o.BatchMax, 100_000}} {
		if n.v < n.lo || n.v > n.most {
			add(fmt.Errorf("%s is %d, want %d to %d", n.key, n.v, n.lo, n.most))
		}
	}
	if o.Rate < 0 {
		add(fmt.Errorf("rate is %g, want 0 or more", o.Rate))
	}
	for p := range o.Severities {
		if _, err := alertv1.ParsePriority(p); err != nil {
			add(fmt.Errorf("severities: %w", err))
		}
	}
	for _, t := range []struct{ key, text string }{{"title", o.Title}, {"text", o.Text}} {
		if t.text != "" {
			if _, err := notify.ParseTemplate(t.key, t.text); err != nil {
				add(fmt.Errorf("%s: %w", t.key, err))
			}
		}
	}
	_, err := o.dress()
	add(err)
	add(o.Match.Validate())
	s, ok := o.Settings.(notify.Settings)
	if !ok {
		return errors.Join(append(errs, errors.New("type is not set"))...)
	}
	return errors.Join(append(errs, s.Validate())...)
}

// dress compiles what makes a message of an alert: severity, added fields and tags.
func (o Output) dress() (func(a *alertv1.Alert) notify.Message, error) {
	words := map[alertv1.Priority]string{}
	for _, p := range alertv1.Priorities() {
		words[p] = p.String()
	}
	for name, word := range o.Severities {
		if p, err := alertv1.ParsePriority(name); err == nil {
			words[p] = word
		}
	}
	names := slices.Sorted(maps.Keys(o.AddFields))
	templates := make([]*notify.Template, len(names))
	for i, name := range names {
		var err error
		if templates[i], err = notify.ParseTemplate(name, o.AddFields[name]); err != nil {
			return nil, fmt.Errorf("add_fields.%s: %w", name, err)
		}
	}
	return func(a *alertv1.Alert) notify.Message {
		m := notify.Message{Alert: a, Severity: words[a.Priority]}
		if len(names)+len(o.AddTags) == 0 {
			return m
		}
		own := *a
		own.Tags = append(slices.Clone(a.Tags), o.AddTags...)
		own.Fields = slices.Clone(a.Fields)
		for i, t := range templates {
			text, err := t.Text(&m, nil)
			if err != nil {
				text = "" // the alert goes out without this field rather than not at all
			}
			own.Fields = append(own.Fields, alertv1.Field{Name: names[i], Value: text})
		}
		m.Alert = &own
		return m
	}, nil
}
