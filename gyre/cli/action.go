package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// Exit codes of commands that ask for an action, beside 0 for executed and 1 for what could not be asked.
const (
	exitRefused  exitCode = 3
	exitFailed   exitCode = 4
	exitNoAnswer exitCode = 5
)

// exitCode ends a command that has said everything with a code of its own.
type exitCode int

// Error says no more than the number.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

type actionFlags struct {
	target, node, reason, key string
	wait, valid               time.Duration
	json                      bool
}

func (a *app) actionCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "action", Short: "Ask nodes for response actions, which their own policies must allow",
		Long: "Signs a request with your key and sends it to one node, which carries it out if its own policy file allows it.\n" +
			"Exit codes: 0 executed, 1 could not be asked, 3 refused, 4 failed, 5 no answer.",
	}
	for _, x := range []struct {
		use, short string
		action     actionv1.Action
	}{
		{"kill", "Kill one process", actionv1.Kill},
		{"kill-tree", "Kill a process and all its descendants", actionv1.KillTree},
		{"pause-container", "Freeze all processes of a container", actionv1.PauseContainer},
		{"resume-container", "Let a paused container go on", actionv1.ResumeContainer},
		{"stop-container", "Kill all processes of a container", actionv1.StopContainer},
	} {
		c.AddCommand(a.askCommand(x.use, x.short, x.action))
	}
	c.AddCommand(a.keygenCommand(), a.resultsCommand())
	return c
}

func (a *app) askCommand(use, short string, action actionv1.Action) *cobra.Command {
	var f actionFlags
	c := a.connects(&cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		ctx, stop := interruptible()
		defer stop()
		return a.ask(ctx, action, f)
	}})
	required := []string{"reason", "key"}
	if action.OnContainer() {
		c.Flags().StringVar(&f.target, "container", "", "the container's full id, or at least 12 digits of it")
		c.Flags().StringVar(&f.node, "node", "", "the node that it runs on")
		required = append(required, "container", "node")
		c.Example = "  gyre action " + use + " --node web-1 --container 4f2a9c0d1e3b --reason \"INC-42: cryptominer\" --key ada.key"
	} else {
		c.Flags().StringVar(&f.target, "exec-id", "", "the process, as proc.exec_id and gyre alerts show name it: it says the node too")
		required = append(required, "exec-id")
		c.Example = "  gyre action " + use + " --exec-id web-1:0123abcd:123456789:4242:2 --reason \"INC-42: cryptominer\" --key ada.key"
	}
	c.Flags().StringVar(&f.reason, "reason", "", "why, for those who read the record later")
	c.Flags().StringVar(&f.key, "key", "", "file of your private key, see gyre action keygen")
	c.Flags().DurationVar(&f.wait, "wait", 10*time.Second, "how long to wait for the node's answer; 0 does not wait")
	c.Flags().DurationVar(&f.valid, "valid", time.Minute, "how long the node may accept the request; at most 5m")
	c.Flags().BoolVar(&f.json, "json", false, "the result as a JSON object")
	for _, name := range required {
		_ = c.MarkFlagRequired(name) // fails only for a flag that is not there
	}
	return c
}

// ask signs, sends and waits.
func (a *app) ask(ctx context.Context, action actionv1.Action, f actionFlags) error {
	key, err := loadKey(f.key)
	if err != nil {
		return err
	}
	if !action.OnContainer() {
		id, err := actionv1.ParseExecID(f.target)
		if err != nil {
			return daemon.Hint(err, "copy it from the output of gyre alerts show, or from the field proc.exec_id of gyre events")
		}
		f.node = id.Node
	}
	if f.wait < 0 {
		return fmt.Errorf("--wait is %s, want 0 or more", f.wait)
	}
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	now := time.Now()
	req := actionv1.Request{
		ID: actionv1.NewID(), Node: f.node, Action: action, Target: f.target, Reason: f.reason, IssuedAt: now.UnixNano(), ExpiresAt: now.Add(f.valid).UnixNano(),
	}
	message, err := actionv1.Sign(&req, key)
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "cli"})
	if err := pub.Publish(sending, bus.Message{Subject: subject.Action(f.node), ID: req.ID.String(), Data: message}); err != nil {
		return daemon.Hint(err, "these credentials must be allowed to publish to "+subject.Action(f.node))
	}
	if f.wait == 0 {
		return a.writeSent(&req, f.json)
	}
	r, err := awaitResult(ctx, b, f.node, actionv1.DigestOf(message), now, f.wait)
	if err != nil {
		return err
	}
	if r == nil {
		daemon.PrintError(a.err, daemon.Hint(fmt.Errorf("no answer from node %q in %s to request %s", f.node, f.wait, req.ID),
			"is the node's collector running, and does its configuration name a policy (collector.actions_policy)? gyre action list shows a late answer"))
		return exitNoAnswer
	}
	if err := a.writeResult(r, f.json, false); err != nil {
		return err
	}
	switch r.Status {
	case actionv1.Executed:
		return nil
	case actionv1.Refused:
		return exitRefused
	default:
		return exitFailed
	}
}

// clockSlack is how far the clocks of this host and of the server may differ.
const clockSlack = 10 * time.Minute

// awaitResult waits for the answer to a message; nil means that there was none in time. The digest finds it: an id can be
// repeated by others.
func awaitResult(ctx context.Context, b *bus.Bus, node string, digest actionv1.Digest, since time.Time, wait time.Duration) (*actionv1.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var found *actionv1.Result
	err := b.Tail(ctx, bus.TailConfig{Stream: bus.StreamResults, Filter: subject.ResultFilter(node), Since: since.Add(-clockSlack)}, func(m bus.Stored) error {
		r, err := actionv1.UnmarshalResult(m.Data)
		if err == nil && r.Digest == digest { // others' results do not matter here, whatever they hold
			found = &r
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) && ctx.Err() == nil {
		return nil, err
	}
	return found, nil
}

func (a *app) writeSent(r *actionv1.Request, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.out).Encode(map[string]any{"request_id": r.ID, "node": r.Node, "status": "sent"})
	}
	_, err := fmt.Fprintf(a.out, "sent  %s to %s as request %s; gyre action list shows the answer\n", r.Action, r.Node, r.ID)
	return err
}

// writeResult writes one result; long is a line of a list, which says when and what was asked for.
func (a *app) writeResult(r *actionv1.Result, asJSON, long bool) error {
	if asJSON {
		return json.NewEncoder(a.out).Encode(r)
	}
	p := clickhouse.Printable
	var s strings.Builder
	if long {
		fmt.Fprintf(&s, "%s  ", r.Time().Local().Format("2006-01-02 15:04:05"))
	}
	fmt.Fprintf(&s, "%-8s  %s", r.Status, p(string(r.Action)))
	if long {
		by := "key " + p(r.KeyID) + ", not proved"
		if r.KeyName != "" {
			by = p(r.KeyName)
		}
		fmt.Fprintf(&s, " of %s by %s (%s)", p(r.Target), by, p(r.Why))
	}
	fmt.Fprintf(&s, "  on %s", p(r.Node))
	if r.Code != "" {
		fmt.Fprintf(&s, "  %s", p(r.Code))
	}
	fmt.Fprintf(&s, ": %s\n", p(r.Reason))
	if !long {
		for _, h := range r.Hits {
			fmt.Fprintf(&s, "  pid %d  %s\n", h.PID, p(h.ExecID))
		}
		if more := r.HitCount - min(r.HitCount, uint64(len(r.Hits))); more > 0 {
			fmt.Fprintf(&s, "  and %d more\n", more)
		}
	}
	_, err := a.out.Write([]byte(s.String()))
	return err
}

func (a *app) resultsCommand() *cobra.Command {
	var since time.Duration
	var node string
	var limit int
	var asJSON bool
	c := a.connects(&cobra.Command{Use: "list", Short: "List what became of requests", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		ctx, stop := interruptible()
		defer stop()
		return a.listResults(ctx, since, node, limit, asJSON)
	}})
	c.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back")
	c.Flags().StringVar(&node, "node", "", "only those of this node")
	c.Flags().IntVar(&limit, "limit", 100, "how many at the most: the newest")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

func (a *app) listResults(ctx context.Context, since time.Duration, node string, limit int, asJSON bool) error {
	if limit < 1 {
		return fmt.Errorf("--limit is %d, want 1 or more", limit)
	}
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	var list []actionv1.Result
	err = b.Tail(ctx, bus.TailConfig{Stream: bus.StreamResults, Filter: subject.ResultFilter(node), Since: time.Now().Add(-since), ToEnd: true}, func(m bus.Stored) error {
		r, err := actionv1.UnmarshalResult(m.Data)
		if err != nil {
			return fmt.Errorf("decode result %d: %w", m.Seq, err)
		}
		if list = append(list, r); len(list) >= 2*limit {
			list = append(list[:0], list[len(list)-limit:]...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := max(len(list)-limit, 0); i < len(list); i++ {
		if err := a.writeResult(&list[i], asJSON, true); err != nil {
			return err
		}
	}
	if len(list) == 0 && !asJSON {
		_, err = fmt.Fprintf(a.out, "no results in the last %s\n", since)
	}
	return err
}
