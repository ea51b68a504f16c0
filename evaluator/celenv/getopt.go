package celenv

import "strings"

// option is a short option that was given.
type option struct {
	letter string
	// arg is its argument; without one, hasArg is unset, and missing tells whether there should have been one.
	arg             string
	hasArg, missing bool
	// known tells whether the specification has the letter.
	known bool
}

// options walks short options as getopt(3) does: it stops at "--" and at the first word
// that is no option. Long options are passed over.
func options(args []string, spec string, each func(option)) {
	takes := map[byte]bool{}
	spec = strings.TrimPrefix(spec, ":")
	for i := 0; i < len(spec); i++ {
		if spec[i] != ':' {
			takes[spec[i]] = i+1 < len(spec) && spec[i+1] == ':'
		}
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" || len(a) < 2 || a[0] != '-' {
			return
		}
		if a[1] == '-' {
			continue
		}
		for j := 1; j < len(a); j++ {
			arg, known := takes[a[j]]
			o := option{letter: a[j : j+1], known: known}
			switch {
			case !arg:
				each(o)
				continue
			case j+1 < len(a):
				o.arg, o.hasArg = a[j+1:], true
			case i+1 < len(args):
				i++
				o.arg, o.hasArg = args[i], true
			default:
				o.missing = true
			}
			each(o)
			break
		}
	}
}

// GetOpt lists the short options of a command line: each letter, followed by its argument
// if spec has a colon behind the letter; "" for a letter whose argument is missing, "?"
// for one that spec does not have. See getopt(3) for spec.
func GetOpt(args []string, spec string) []string {
	out := []string{}
	options(args, spec, func(o option) {
		switch {
		case !o.known:
			out = append(out, "?")
		case o.missing:
			out = append(out, "")
		case o.hasArg:
			out = append(out, o.letter, o.arg)
		default:
			out = append(out, o.letter)
		}
	})
	return out
}

// OptValue is the argument of the last option of this letter; the letter itself if it takes
// none, "" if it is missing. It returns false if the option was not given.
func OptValue(args []string, spec, letter string) (string, bool) {
	value, found := "", false
	options(args, spec, func(o option) {
		switch {
		case !o.known || o.letter != letter:
			return
		case o.hasArg || o.missing:
			value = o.arg
		default:
			value = o.letter
		}
		found = true
	})
	return value, found
}
