package daemon

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// LoadOptions says where a configuration comes from and where it goes.
//
// A section is a pointer to a struct that holds the defaults. Its fields carry `yaml:"snake_case"` and `doc:"text"`
// tags; `yaml:",inline"` takes the fields of an embedded struct as its own and `yaml:"-"` leaves a field out. A field
// is a bool, number, string, time.Duration, [Bytes], [Secret], anything with UnmarshalText and MarshalText, a nested
// struct, which may be a [Variant], or a slice or string-keyed map of these. A list or map in the file replaces the default as a whole.
type LoadOptions struct {
	Path      string         // Path of the YAML file; empty means no file.
	Content   []byte         // Content replaces what the file says when not nil; Path is its name in errors then.
	EnvPrefix string         // EnvPrefix such as GYRE: the variable is GYRE_SECTION_KEY. Empty means no variables.
	Environ   []string       // Environ replaces os.Environ when not nil.
	Sets      []string       // Sets are the section.key=value arguments of the command line.
	Sections  map[string]any // Sections of this program, by name.
	Known     []string       // Known names sections of other programs: the file may have them, and they are not read.
}

// Load fills the sections. The command line wins over the environment, that over the file, that over the defaults.
//
// It is strict: unknown and repeated keys, values of the wrong type and unknown variables with the name of a section
// are errors. It goes on after an error where it can and returns all of them as [ConfigErrors]. After the values it
// asks each section that has a Validate() error method. The sections change only if there was no error at all.
func Load(o LoadOptions) error {
	l := &loader{opts: o, sections: map[string]reflect.Value{}}
	for name, s := range o.Sections {
		v := reflect.ValueOf(s)
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return fmt.Errorf("load section %s: want a pointer to a struct, got %T", name, s)
		}
		if err := checkType(v.Elem().Type(), name); err != nil {
			return err
		}
		work := reflect.New(v.Elem().Type()).Elem()
		work.Set(v.Elem()) // shallow: decoding replaces lists and maps and never writes into them
		l.sections[name] = work
	}
	if err := l.loadFile(); err != nil {
		return err
	}
	l.loadEnv()
	l.loadSets()
	if len(l.errs) == 0 {
		l.validate()
	}
	if len(l.errs) > 0 {
		return l.errs
	}
	for name, s := range o.Sections {
		reflect.ValueOf(s).Elem().Set(l.sections[name])
	}
	return nil
}

type loader struct {
	opts     LoadOptions
	sections map[string]reflect.Value // copies that become the sections if all goes well
	errs     ConfigErrors
	places   map[string]*token.Token // where the file says the value of a path
}

func (l *loader) sectionNames() []string { return slices.Sorted(maps.Keys(l.sections)) }

func (l *loader) validate() {
	source := l.opts.Path
	if source == "" {
		source = "configuration"
	}
	for _, name := range l.sectionNames() {
		v, ok := reflect.TypeAssert[interface{ Validate() error }](l.sections[name].Addr())
		if !ok {
			continue
		}
		err := v.Validate()
		list := split(err)
		if list == nil {
			list = []error{err}
		}
		for _, err := range list {
			if err != nil {
				l.errs = append(l.errs, l.placed(&ConfigError{File: source, Key: name, Msg: err.Error(), Hint: Remedy(err), Err: err}))
			}
		}
	}
}

// placed adds the place in the file to an error made by [At].
func (l *loader) placed(e *ConfigError) *ConfigError {
	var at *keyError
	if !errors.As(e.Err, &at) {
		return e
	}
	path := e.Key
	if at.key != "" {
		path += "." + at.key
	}
	e.Key = path
	for path != "" { // a key that is not there: the place of the nearest group that is
		if t := l.places[path]; t != nil && t.Position != nil {
			e.Line, e.Col = t.Position.Line, t.Position.Column
			return e
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return e
}

// loadEnv reads the variables of our sections.
func (l *loader) loadEnv() {
	if l.opts.EnvPrefix == "" {
		return
	}
	environ := l.opts.Environ
	if environ == nil {
		environ = os.Environ()
	}
	settings := map[string]setting{}
	var prefixes []string
	for _, name := range l.sectionNames() {
		prefixes = append(prefixes, envName(l.opts.EnvPrefix, name)+"_")
		for _, s := range settingsOf(name, l.sections[name]) {
			names := []string{envName(l.opts.EnvPrefix, s.path)}
			if s.value.Type() == secretType {
				names = append(names, names[0]+"_FILE")
			}
			for _, n := range names {
				if other, taken := settings[n]; taken {
					l.add(&ConfigError{File: "environment", Key: n, Msg: fmt.Sprintf("stands for both %s and %s", other.path, s.path), Hint: "this is a defect of the program: rename one of the settings"})
				}
				settings[n] = s
			}
		}
	}
	for _, kv := range slices.Sorted(slices.Values(environ)) {
		name, text, _ := strings.Cut(kv, "=")
		s, ok := settings[name]
		if !ok {
			ours := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
			if ours && !serviceLink(name, text) {
				l.add(&ConfigError{File: "environment", Key: name, Msg: "unknown setting", Hint: suggest(name, slices.Collect(maps.Keys(settings)), "variable")})
			}
			continue
		}
		var err error
		switch {
		case s.value.Type() != secretType:
			err = setText(s.value, text)
		case strings.HasSuffix(name, "_FILE"):
			s.value.Set(reflect.ValueOf(SecretFile(text)))
		default:
			s.value.Set(reflect.ValueOf(NewSecret(text)))
		}
		if err != nil {
			hint := "correct the variable or unset it"
			if serviceLink(name, text) {
				hint = "Kubernetes sets this variable for a Service of that name: set enableServiceLinks: false in the pod"
			}
			l.add(&ConfigError{File: "environment", Key: name, Msg: err.Error(), Hint: hint})
		}
	}
}

// envName turns a path such as sink.max_bytes into GYRE_SINK_MAX_BYTES.
func envName(prefix, path string) string {
	return prefix + "_" + strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(path))
}

// serviceLink recognises the variables that Kubernetes puts into every pod for every Service of its namespace; one
// named gyre-sink would otherwise stop the program of that name.
func serviceLink(name, text string) bool {
	return strings.Contains(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.Contains(name, "_PORT") && (strings.HasPrefix(text, "tcp://") || strings.HasPrefix(text, "udp://")) ||
		strings.Contains(name, "_TCP_") || strings.Contains(name, "_UDP_") ||
		strings.HasSuffix(name, "_TCP") || strings.HasSuffix(name, "_UDP")
}

// loadSets reads the section.key=value arguments.
func (l *loader) loadSets() {
	const source = "command line"
	for _, arg := range l.opts.Sets {
		path, text, ok := strings.Cut(arg, "=")
		if !ok {
			l.add(&ConfigError{File: source, Key: arg, Msg: "no value", Hint: "write section.key=value"})
			continue
		}
		section, rest, _ := strings.Cut(path, ".")
		v, ok := l.sections[section]
		if !ok {
			l.add(&ConfigError{File: source, Key: path, Msg: fmt.Sprintf("unknown section %q", section), Hint: suggest(section, l.sectionNames(), "section")})
			continue
		}
		if err := l.set(v, section, rest, text); err != nil {
			err.File, err.Key = source, path
			l.add(err)
		}
	}
}

// set follows rest below v and sets what it finds.
func (l *loader) set(v reflect.Value, path, rest, text string) *ConfigError {
	key, rest, more := strings.Cut(rest, ".")
	names := []string{}
	for _, f := range fieldsOf(v.Type()) {
		target := v.FieldByIndex(f.index)
		switch {
		case f.typ == secretType && key == f.name+"_file" && !more:
			target.Set(reflect.ValueOf(SecretFile(text)))
			return nil
		case f.typ == secretType && key == f.name && !more:
			return &ConfigError{Msg: "a secret cannot be given on the command line, where other users can read it", Hint: secretHint(l.opts.EnvPrefix, path+"."+key)}
		case f.typ == secretType:
			names = append(names, f.name+"_file")
			continue
		case key != f.name:
			names = append(names, f.name)
			continue
		case more && isGroup(f.typ):
			return l.set(target, path+"."+key, rest, text)
		case more && f.typ.Kind() == reflect.Map:
			return setMapEntry(target, rest, text)
		}
		if err := setText(target, text); err != nil {
			return &ConfigError{Msg: err.Error(), Hint: "correct the argument", Err: err}
		}
		return nil
	}
	return &ConfigError{Msg: fmt.Sprintf("unknown key %q", key), Hint: suggest(key, names, "key")}
}

func secretHint(prefix, path string) string {
	hint := fmt.Sprintf("put it in a file and set %s_file to its path", path)
	if strings.Contains(path, "[") {
		return hint + ", or set " + path + "_env to the name of an environment variable"
	}
	if prefix != "" {
		hint += ", or set " + envName(prefix, path) + " in the environment"
	}
	return hint
}
