package route

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// IntervalConfig is a named time of the week or year. What is set must all hold.
type IntervalConfig struct {
	Name     string   `yaml:"name" doc:"what routes call it"`
	Times    []string `yaml:"times" doc:"times of day, as 22:00-06:00"`
	Weekdays []string `yaml:"weekdays" doc:"days, as mon or mon-fri"`
	Days     []string `yaml:"days" doc:"days of the month, as 1, 1-7 or -1 for the last"`
	Months   []string `yaml:"months" doc:"months, as 12 or 6-8"`
	Location string   `yaml:"location" doc:"time zone, as Europe/Berlin; empty means UTC"`
}

// Interval is a compiled IntervalConfig.
type Interval struct {
	times, weekdays, days, months []span
	loc                           *time.Location
}

// span is from lo to hi; lo above hi goes round the end.
type span struct{ lo, hi int }

func (s span) has(v int) bool {
	if s.lo <= s.hi {
		return v >= s.lo && v <= s.hi
	}
	return v >= s.lo || v <= s.hi
}

// Compile checks the interval.
func (c IntervalConfig) Compile() (*Interval, error) {
	i := &Interval{loc: time.UTC}
	var errs []error
	parse := func(key string, list []string, one func(string) (int, error)) []span {
		var out []span
		for _, text := range list {
			s, err := parseSpan(text, one)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %q: %w", key, text, err))
			}
			out = append(out, s)
		}
		return out
	}
	i.times = parse("times", c.Times, clock)
	for n := range i.times { // the end is not in it
		i.times[n].hi--
	}
	i.weekdays, i.months = parse("weekdays", c.Weekdays, weekday), parse("months", c.Months, within(1, 12))
	i.days = parse("days", c.Days, within(-31, 31))
	if c.Location != "" {
		var err error
		if i.loc, err = time.LoadLocation(c.Location); err != nil {
			errs = append(errs, fmt.Errorf("location: %w", err))
		}
	}
	if c.Name == "" {
		errs = append(errs, errors.New("name is not set"))
	}
	return i, errors.Join(errs...)
}

// Contains tells whether t is in the interval.
func (i *Interval) Contains(t time.Time) bool {
	t = t.In(i.loc)
	in := func(list []span, v int) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(s span) bool { return s.has(v) })
	}
	last := time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, i.loc).Day()
	days := slices.Clone(i.days)
	for n, d := range days { // -1 is the last day
		if d.lo < 0 {
			days[n].lo = last + 1 + d.lo
		}
		if d.hi < 0 {
			days[n].hi = last + 1 + d.hi
		}
	}
	return in(i.times, t.Hour()*60+t.Minute()) && in(i.weekdays, int(t.Weekday())) && in(days, t.Day()) && in(i.months, int(t.Month()))
}

// parseSpan reads a or a-b, where a may start with a sign.
func parseSpan(text string, one func(string) (int, error)) (span, error) {
	text = strings.TrimSpace(text)
	a, b := text, text
	if i := strings.Index(text[min(1, len(text)):], "-"); i >= 0 {
		a, b = text[:i+1], text[i+2:]
	}
	lo, err := one(strings.TrimSpace(a))
	if err != nil {
		return span{}, err
	}
	hi, err := one(strings.TrimSpace(b))
	return span{lo, hi}, err
}

func clock(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, errors.New("want times as 09:00-17:30")
	}
	return t.Hour()*60 + t.Minute(), nil
}

func weekday(s string) (int, error) {
	i := slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, strings.ToLower(s[:min(3, len(s))]))
	if i < 0 {
		return 0, errors.New("want days as mon or mon-fri")
	}
	return i, nil
}

func within(lo, hi int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < lo || n > hi || n == 0 {
			return 0, fmt.Errorf("want a number from %d to %d", lo, hi)
		}
		return n, nil
	}
}
