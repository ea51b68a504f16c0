package sink

import (
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
)

// BenchmarkDelivery sends alerts that wait in the stream through one output: webhook arrays of 500.
func BenchmarkDelivery(b *testing.B) {
	f := newFixture(b)
	r := newReceiver(b)
	for n := range b.N {
		a := alertv1.Alert{ID: alertv1.EventID("r", "n", "b", uint64(n)), Time: time.Now().UnixNano(), RuleID: "r", Rule: "r", Priority: alertv1.Warning, Node: "n", Tags: []string{}, MITRE: []string{}}
		data, err := a.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		if err := f.pub.PublishAsync(b.Context(), bus.Message{Subject: subject.Alert("warning", "r", "n"), ID: a.ID.String(), Data: data}, func(error) {}); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.pub.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	o := hook("a", r.URL)
	c := o.Settings.(*webhook.Config)
	c.Array, c.ArrayMax = true, 500
	o.BatchMax, o.BatchWait, o.Pending = 500, 50*time.Millisecond, 5000
	b.ResetTimer()
	f.run(Config{Outputs: []Output{o}})
	f.settledWithin(10*time.Minute, "a")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
}
