package collector

import (
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func newTestTable() *proctable.Table {
	t := proctable.New(proctable.DefaultConfig())
	t.Add(proctable.Facts{Row: eventv1.Proc{PID: 1, Start: 10, ExecCount: 1}, Comm: "init", Exe: "/sbin/init"})
	t.Add(proctable.Facts{Row: eventv1.Proc{PID: 30, Start: 300, PPID: 1, ExecCount: 1, UID: 1000, GID: 1000}, Comm: "bash", Exe: "/bin/bash"})
	t.Link()
	return t
}
