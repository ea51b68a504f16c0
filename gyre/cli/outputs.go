package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink"
	"github.com/gyre-sec/gyre/sink/notify/format"
)

// outputStatus is one row of `gyre outputs status`.
type outputStatus struct {
	sink.Status
	// State is ok, down, paused, or unattended when no sink runs the output.
	State    string      `json:"state"`
	Position bus.Durable `json:"position"`
	// Replays is how many replays of the output are under way.
	Replays int `json:"replays"`
}

// States of an output.
const (
	outputOK         = "ok"
	outputDown       = "down"
	outputPaused     = "paused"
	outputUnattended = "unattended"
)

func (a *app) outputsCommand() *cobra.Command {
	c := &cobra.Command{Use: "outputs", Short: "See and steer where alerts are sent"}
	c.AddCommand(a.outputsStatus(), a.outputsTest(), a.outputsPause(), a.outputsResume(), a.outputsReplay())
	return c
}

// withBus runs f with a connection.
func (a *app) withBus(f func(ctx context.Context, b *bus.Bus) error) error {
	ctx, stop := interruptible()
	defer stop()
	b, _, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	return f(ctx, b)
}

func (a *app) outputsStatus() *cobra.Command {
	var asJSON bool
	c := a.connects(&cobra.Command{Use: "status", Short: "Show each output: state, lag, sent, dead letters, last error", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.withBus(func(ctx context.Context, b *bus.Bus) error {
			list, err := outputStates(ctx, b)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(a.out)
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			return a.writeOutputs(list)
		})
	}})
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return c
}

// outputStates puts together what the server knows (positions) and what the sinks say.
func outputStates(ctx context.Context, b *bus.Bus) ([]outputStatus, error) {
	durables, err := b.Durables(ctx, bus.StreamAlerts, sink.DurablePrefix)
	if err != nil {
		return nil, err
	}
	dead, err := b.Durables(ctx, bus.StreamDead, sink.DurablePrefix)
	if err != nil {
		return nil, err
	}
	answers, err := b.AskAll(ctx, subject.ControlState(), nil, 500*time.Millisecond)
	if err != nil {
		return nil, err
	}
	said := map[string]sink.Status{}
	for _, data := range answers {
		var list []sink.Status
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, fmt.Errorf("decode state of a sink: %w", err)
		}
		for _, s := range list {
			said[s.Name] = s.Add(said[s.Name])
		}
	}
	replays := map[string]int{}
	list := []outputStatus{}
	for _, d := range append(durables, dead...) {
		name, replay := sink.OutputOf(d.Name)
		switch {
		case name == "":
		case replay:
			replays[name]++
		default:
			o := outputStatus{Status: said[name], State: outputOK, Position: d}
			switch {
			case d.Paused():
				o.State = outputPaused
			case o.Name == "":
				o.State = outputUnattended
			case !o.Down.IsZero():
				o.State = outputDown
			}
			o.Name = name
			list = append(list, o)
		}
	}
	for i := range list {
		list[i].Replays = replays[list[i].Name]
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

func (a *app) writeOutputs(list []outputStatus) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.out, "no outputs: name some under sink.outputs in the configuration (docs/outputs.md)")
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tTYPE\tSTATE\tLAG\tIN FLIGHT\tSENT\tDEAD\tLAST SENT\tLAST ERROR") // errors come up at Flush
	for _, o := range list {
		state, last := o.State, "-"
		switch o.State {
		case outputDown:
			state += " for " + ago(o.Down)
		case outputPaused:
			state += " for " + time.Until(o.Position.PausedUntil).Round(time.Second).String() + " more"
		}
		if o.Replays > 0 {
			state += fmt.Sprintf(", %d replays", o.Replays)
		}
		if !o.LastSuccess.IsZero() {
			last = ago(o.LastSuccess) + " ago"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", o.Name, o.Type, state, o.Position.Lag, o.Position.AckPending, o.Sent, o.Dead, last, format.Printable(o.Error))
	}
	return w.Flush()
}

func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() }

// findOutput checks that an output has a position, and names those that have if not.
func findOutput(ctx context.Context, b *bus.Bus, name string) error {
	list, err := b.Durables(ctx, bus.StreamAlerts, sink.DurablePrefix)
	if err != nil {
		return err
	}
	var names []string
	for _, d := range list {
		n, replay := sink.OutputOf(d.Name)
		if n == "" || replay {
			continue
		}
		if n == name {
			return nil
		}
		names = append(names, n)
	}
	sort.Strings(names)
	hint := "there are none: name some under sink.outputs in the configuration"
	if len(names) > 0 {
		hint = "the outputs are " + strings.Join(names, ", ")
	}
	return daemon.Hint(fmt.Errorf("there is no output %q", name), hint)
}

// order asks the sink that runs an output to do something.
func order(ctx context.Context, b *bus.Bus, name string, o sink.Order, wait time.Duration) (string, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	out, err := b.Ask(ctx, subject.Control(name), data)
	switch {
	case errors.Is(err, bus.ErrNobody):
		if ferr := findOutput(ctx, b, name); ferr != nil {
			return "", ferr
		}
		return "", daemon.Hint(fmt.Errorf("no sink runs the output %q now", name), "start gyre-sink or gyre up with a configuration that has it")
	case err != nil:
		return "", fmt.Errorf("output %s: %w", name, err)
	}
	return string(out), nil
}

func (a *app) outputsTest() *cobra.Command {
	return a.connects(&cobra.Command{Use: "test NAME", Short: "Send a test alert through an output now", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withBus(func(ctx context.Context, b *bus.Bus) error {
			if _, err := order(ctx, b, args[0], sink.Order{Test: true}, 11*time.Minute); err != nil { // the output's own timeout ends it
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s has taken a test alert\n", args[0])
			return err
		})
	}})
}

func (a *app) outputsPause() *cobra.Command {
	var d time.Duration
	c := a.connects(&cobra.Command{Use: "pause NAME", Short: "Hold an output's alerts back; they wait in the stream", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withBus(func(ctx context.Context, b *bus.Bus) error {
			if err := findOutput(ctx, b, args[0]); err != nil {
				return err
			}
			if d <= 0 {
				return fmt.Errorf("--for is %s, want above 0", d)
			}
			if err := b.Pause(ctx, bus.StreamAlerts, sink.DurablePrefix+args[0], time.Now().Add(d)); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s is paused for %s\n", args[0], d)
			return err
		})
	}})
	c.Flags().DurationVar(&d, "for", 24*time.Hour, "how long at the most")
	return c
}

func (a *app) outputsResume() *cobra.Command {
	return a.connects(&cobra.Command{Use: "resume NAME", Short: "End a pause", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		return a.withBus(func(ctx context.Context, b *bus.Bus) error {
			if err := findOutput(ctx, b, args[0]); err != nil {
				return err
			}
			if err := b.Resume(ctx, bus.StreamAlerts, sink.DurablePrefix+args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s goes on\n", args[0])
			return err
		})
	}})
}

func (a *app) outputsReplay() *cobra.Command {
	var since time.Duration
	var dead bool
	c := a.connects(&cobra.Command{
		Use: "replay NAME", Short: "Send alerts again, or an output's dead letters", Args: cobra.ExactArgs(1),
		Example: "  gyre outputs replay chat --since 2h\n  gyre outputs replay pager --dead --since 72h",
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withBus(func(ctx context.Context, b *bus.Bus) error {
				if since <= 0 {
					return fmt.Errorf("--since is %s, want above 0", since)
				}
				id, err := order(ctx, b, args[0], sink.Order{Replay: &sink.Replay{Since: time.Now().Add(-since), Dead: dead}}, time.Minute)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "replay %s begins; gyre outputs status shows when it is over\n", id)
				return err
			})
		},
	})
	c.Flags().DurationVar(&since, "since", 0, "how far back")
	c.Flags().BoolVar(&dead, "dead", false, "only what the output refused or was given up on")
	return c
}
