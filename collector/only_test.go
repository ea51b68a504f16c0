package collector

import (
	"context"
	"os"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/collector/decode/recordtest"
)

// only passes on what one session's processes do: this process's descendants, and as the only seed this process.
type only struct {
	Source
	then func()
	ours map[uint32]bool
}

func (o *only) Seed(fn func(raw, cmdline []byte) error) error {
	var own bpf.Record
	err := o.Source.Seed(func(raw, _ []byte) error {
		rec, err := bpf.ParseRecord(raw)
		if err == nil && rec.TGID == uint32(os.Getpid()) {
			own = rec
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The test program stands for a login shell: a recording should not depend on where it was made.
	h := own.Header
	h.Comm = [16]byte{'b', 'a', 's', 'h'}
	return fn(recordtest.Exec(h, recordtest.Snapshot{Exe: "/usr/bin/bash", Cwd: "/"}), []byte("-bash\x00"))
}

func (o *only) Read(ctx context.Context, record func([]byte), idle func()) error {
	o.ours = map[uint32]bool{uint32(os.Getpid()): true}
	go o.then()
	return o.Source.Read(ctx, func(raw []byte) {
		rec, err := bpf.ParseRecord(raw)
		if err != nil {
			return
		}
		if rec.Flags&bpf.FlagSnapshot != 0 && o.ours[uint32(rec.Int(bpf.ExecSlots+bpf.SnapPPID))] {
			o.ours[rec.TGID] = true
		}
		if !o.ours[rec.TGID] {
			return
		}
		if rec.Kind >= 3 && rec.Kind <= 6 {
			o.ours[uint32(rec.Int(bpf.CloneChildTGID))] = true
		}
		record(raw)
	}, idle)
}
