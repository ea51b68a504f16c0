package backtest

import (
	"bytes"
	_ "embed" // the page's template
	"fmt"
	"html/template"
	"time"
)

//go:embed report.html.tmpl
var pageText string

// Sizes of the charts, in pixels.
const (
	chartWidth  = 960
	chartHeight = 140
	barWidth    = 260
	chartRules  = 40
)

// bar is a rectangle of a chart.
type bar struct {
	X, Y, W, H float64
	Title      string
}

type ruleBars struct {
	Rule          *RuleReport
	Before, After bar
}

type page struct {
	*Report
	Compared      bool
	Basis         string
	Before, After []bar // over time
	Peak          uint64
	Bars          []ruleBars
}

// HTML is the report as one page that needs nothing else: no script, no font, no picture from elsewhere. What comes from
// events and rules is escaped.
func (r *Report) HTML() ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"amount":  amount,
		"show":    printable,
		"when":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"percent": func(n, of uint64) string { return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(max(of, 1))) },
	}).Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, r.page()); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	return b.Bytes(), nil
}

func (r *Report) page() page {
	p := page{Report: r, Compared: r.Before != nil, Basis: r.basis()}
	for _, b := range r.Timeline {
		p.Peak = max(p.Peak, b.Before, b.After)
	}
	sides := 1.0
	if p.Compared {
		sides = 2
	}
	step := float64(chartWidth) / float64(max(len(r.Timeline), 1))
	for i, b := range r.Timeline {
		make := func(n uint64, side float64, what string) bar {
			h := chartHeight * float64(n) / float64(max(p.Peak, 1))
			return bar{float64(i)*step + side*step/sides, chartHeight - h, step / sides * 0.9, h, fmt.Sprintf("%s: %d %s", b.Start.Format("2006-01-02 15:04:05"), n, what)}
		}
		if p.Compared {
			p.Before = append(p.Before, make(b.Before, 0, "before"))
		}
		p.After = append(p.After, make(b.After, sides-1, "after"))
	}
	most := uint64(1)
	for _, x := range r.Rules {
		most = max(most, x.Before, x.After)
	}
	for i := range r.Rules[:min(len(r.Rules), chartRules)] {
		x := &r.Rules[i]
		width := func(n uint64) float64 { return barWidth * float64(n) / float64(most) }
		p.Bars = append(p.Bars, ruleBars{x, bar{W: width(x.Before)}, bar{W: width(x.After)}})
	}
	return p
}
