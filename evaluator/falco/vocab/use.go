package vocab

import (
	"errors"
	"fmt"
	"strings"
)

// Use is a field as a condition or an output names it, with its argument.
type Use struct {
	Field
	// Arg is the argument, whether written as evt.arg.path or as evt.arg[path].
	Arg    string
	HasArg bool
}

// ErrUnknown is what errors about a field or an event type that Falco does not know are; a rule with skip-if-unknown-filter survives them.
var ErrUnknown = errors.New("unknown name")

// unknown is a message that is an [ErrUnknown].
type unknown string

// Error implements error.
func (u unknown) Error() string { return string(u) }

// Is makes errors.Is find ErrUnknown.
func (u unknown) Is(target error) bool { return target == ErrUnknown }

// Unknown returns an error with this message that is an [ErrUnknown].
func Unknown(format string, args ...any) error { return unknown(fmt.Sprintf(format, args...)) }

// dotted are the fields whose argument can follow a dot.
var dotted = []string{"evt.arg", "evt.rawarg", "evt.type.is", "evt.abspath", "thread.cgroup", "container.label", "k8s.pod.label"}

// Resolve finds the field that is written name[arg].
func Resolve(name, arg string, hasArg bool) (Use, error) {
	f, ok := fields[name]
	if !ok {
		for _, d := range dotted {
			if rest, has := strings.CutPrefix(name, d+"."); has && !hasArg {
				f, ok, arg, hasArg = fields[d], true, rest, true
				break
			}
		}
	}
	u := Use{f, arg, hasArg}
	switch {
	case !ok:
		return u, Unknown("nonexistent field %s", name)
	case f.ArgRequired && !hasArg:
		return u, fmt.Errorf("field %s needs an argument, as in %s[x]", name, name)
	case hasArg && !f.ArgAllowed:
		return u, fmt.Errorf("field %s takes no argument", name)
	}
	return u, u.check()
}

// check looks at arguments that name something or count.
func (u Use) check() error {
	switch u.Name {
	case "evt.arg", "evt.rawarg":
		if _, number := argument(u.Arg); number && u.Name == "evt.arg" {
			return nil
		}
		if len(params[u.Arg]) == 0 {
			return fmt.Errorf("no event type has an argument %s", u.Arg)
		}
	case "evt.type.is":
		if len(CodesOf(u.Arg)) == 0 {
			return Unknown("unknown event type %s", u.Arg)
		}
	case "evt.abspath":
		if u.Arg != "src" && u.Arg != "dst" {
			return fmt.Errorf("the argument of evt.abspath is src or dst, not %s", u.Arg)
		}
	case "proc.aname", "proc.aexe", "proc.aexepath", "proc.acmdline", "proc.apid", "proc.aargs":
		if _, ok := argument(u.Arg); u.HasArg && !ok {
			return fmt.Errorf("the argument of %s counts generations, %q does not", u.Name, u.Arg)
		}
	}
	return nil
}

// Position is the argument of evt.arg[n] and proc.aname[n] as a number.
func (u Use) Position() (int, bool) { return argument(u.Arg) }

// ValueType is the type of the value; for evt.rawarg that of the parameter, where all event types agree.
func (u Use) ValueType() Type {
	if u.Type != Dynamic {
		return u.Type
	}
	types := params[u.Arg]
	for _, t := range types {
		if t.Group() != types[0].Group() {
			return Dynamic
		}
	}
	return types[0]
}
