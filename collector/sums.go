package collector

import (
	"encoding/hex"
	"fmt"

	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/collector/exehash"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// exeSum returns what is known of the program file of an image, and asks for what is not.
func (c *Collector) exeSum(img *proctable.Image) string {
	r := &img.Row
	if r.ExeIno == 0 || r.ExeCtime == 0 || r.Flags&eventv1.ProcKernelThread != 0 {
		return ""
	}
	k := exehash.Key{Dev: r.ExeDev, Ino: r.ExeIno, Ctime: r.ExeCtime}
	sum, ok := c.hasher.Lookup(k)
	if !ok {
		c.hasher.Ask(exehash.Ask[*proctable.Image]{Key: k, Paths: exePaths(img), Urgent: r.ExecTime != 0, About: img})
	}
	return sum
}

// exePaths are where the program file may be found: by the process while it runs, then by its path as an ancestor sees it
// that runs in the same file system, then as the collector does. What is found there is checked.
func exePaths(img *proctable.Image) []string {
	paths := []string{fmt.Sprintf("/proc/%d/exe", img.Row.PID)}
	if len(img.Exe) == 0 || img.Exe[0] != '/' {
		return paths
	}
	for a, n := img.Parent, 0; a != nil && n < 3; a, n = a.Parent, n+1 {
		if a.Row.MntNS == img.Row.MntNS {
			paths = append(paths, fmt.Sprintf("/proc/%d/root%s", a.Row.PID, img.Exe))
		}
	}
	return append(paths, img.Exe)
}

// tellSums makes an event of each sum that became known: batches with the process may have gone without it.
func (c *Collector) tellSums() {
	if c.hasher == nil {
		return
	}
	for {
		select {
		case a := <-c.hasher.Answers():
			img := a.About
			if row, ok := img.Marked(c.batch.gen); ok {
				c.batch.b.Proc(row).ExeHash = c.batch.b.InternString(a.Sum)
			}
			rec := decode.Record{Kind: eventv1.ExeHash, Time: c.now()}
			rec.TID = img.Row.PID
			rec.Text[0], rec.Text[1], rec.Args[2] = hex.AppendEncode(nil, []byte(a.Sum)), []byte(img.Exe), a.Size
			c.metrics.events[rec.Kind].Inc()
			c.batch.add(&rec, img, nil)
		default:
			return
		}
	}
}
