package action

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// LoadPolicy reads a policy file: YAML with one section, actions. It is strict; errors name file, line and column and a
// remedy. The file must belong to root or to this user, and nobody else may be able to write it. The environment
// is not asked. A file that is not there gives a policy that allows nothing.
func LoadPolicy(file string) (*Policy, error) {
	if err := guarded(file); errors.Is(err, fs.ErrNotExist) {
		return defaultPolicy(), nil
	} else if err != nil {
		return nil, err
	}
	p := defaultPolicy()
	if err := daemon.Load(daemon.LoadOptions{Path: file, Environ: []string{}, Sections: map[string]any{"actions": p}}); err != nil {
		return nil, err
	}
	return p, nil
}

// guarded checks that only who may do anything here anyway can change the policy.
func guarded(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return daemon.Hint(fmt.Errorf("policy %s is no regular file", file), "name the file itself")
	case info.Mode().Perm()&0o022 != 0:
		return daemon.Hint(fmt.Errorf("policy %s can be written by others than its owner (mode %04o)", file, info.Mode().Perm()), "chmod go-w "+file)
	case ok && st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return daemon.Hint(fmt.Errorf("policy %s belongs to user %d", file, st.Uid), "chown root "+file)
	}
	return nil
}

// Reload reads the policy file and puts it in force; on an error the policy in force stays. A file that is gone allows nothing.
func (e *Executor) Reload(context.Context) error {
	e.reload.Lock()
	defer e.reload.Unlock()
	p, err := LoadPolicy(e.cfg.PolicyFile)
	if err != nil {
		e.metrics.loads.WithLabelValues("refused").Inc()
		return err
	}
	e.policy.Store(p)
	e.metrics.loads.WithLabelValues("ok").Inc()
	return nil
}

// Times of following the file. It must be the same in two looks before it is read: half a policy can be a valid, wider one.
const followEvery = time.Second

// follow reloads when the file changed, until ctx ends.
func (e *Executor) follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	tried, last := e.tried, e.tried
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := e.look()
		if now != tried && now == last {
			tried = now
			if err := e.Reload(ctx); err != nil {
				e.log.Error("new policy for response actions refused, the old one stays in force", "file", e.cfg.PolicyFile, "err", err)
			} else {
				p := e.policy.Load()
				e.log.Info("policy for response actions loaded", "file", e.cfg.PolicyFile, "count", len(p.Allow))
			}
		}
		last = now
	}
}

// look tells whether the file changed, in what it says or in who may write it.
func (e *Executor) look() [32]byte {
	data, err := os.ReadFile(e.cfg.PolicyFile)
	if err != nil {
		return sha256.Sum256([]byte(err.Error()))
	}
	var mode string
	if info, err := os.Stat(e.cfg.PolicyFile); err == nil {
		mode = info.Mode().String()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			mode += fmt.Sprint(st.Uid)
		}
	}
	return sha256.Sum256(append(data, mode...))
}
