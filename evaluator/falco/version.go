package falco

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EngineVersion is the version of Falco's rule engine that this package follows.
const EngineVersion = "0.63.0"

// plugins are those of Falco whose fields gyre answers itself, with the version that it follows.
var plugins = map[string]string{"container": "0.7.2", "k8smeta": "0.4.1"}

type version [3]int

var versionForm = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)([-+].*)?$`)

func parseVersion(s string) (version, bool) {
	m := versionForm.FindStringSubmatch(s)
	if m == nil {
		return version{}, false
	}
	var v version
	for i := range v {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return version{}, false
		}
		v[i] = n
	}
	return v, true
}

// satisfies tells whether v can stand in for want: of the same major version and not older.
func (v version) satisfies(want version) bool {
	if v[0] != want[0] {
		return false
	}
	for i := 1; i < len(v); i++ {
		if v[i] != want[i] {
			return v[i] > want[i]
		}
	}
	return true
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// engineVersion reads required_engine_version: a number N, which means 0.N.0, or x.y.z.
func (r *reader) engineVersion(n *yaml.Node, top *context) *failure {
	const key = "required_engine_version"
	ctx := top.at(n, key, "")
	s, _, fail := scalar(n, key, ctx, required)
	if fail != nil {
		return fail
	}
	want, ok := parseVersion(s)
	if minor, err := strconv.ParseUint(s, 10, 31); err == nil {
		want, ok = version{0, int(minor), 0}, true
	}
	if !ok {
		return ctx.fail(ErrYAMLValidate, "Unable to parse engine version '%s' as a semver string. Expected \"x.y.z\" semver format.", s)
	}
	if have, _ := parseVersion(EngineVersion); !have.satisfies(want) {
		return ctx.fail(ErrValidate, "Rules require engine version %s, but engine version is %s", want, EngineVersion)
	}
	r.unknownKeys(n, ctx, key)
	return nil
}

// pluginVersions reads required_plugin_versions. A plugin that gyre does not stand in for is a warning only:
// the rules that need it are of another source and are skipped.
func (r *reader) pluginVersions(n *yaml.Node, top *context) *failure {
	const key, each = "required_plugin_versions", "required plugin versions entry"
	list := get(n, key)
	ctx := top.at(list, "required plugin versions", "")
	if list.Kind != yaml.SequenceNode {
		return ctx.fail(ErrYAMLValidate, "Value of required_plugin_versions must be a sequence")
	}
	for _, p := range list.Content {
		p = resolve(p)
		pctx := ctx.at(p, each, "")
		wants, fail := r.requirement(p, pctx)
		if fail != nil {
			return fail
		}
		if alt := get(p, "alternatives"); alt != nil {
			if alt.Kind != yaml.SequenceNode {
				return pctx.fail(ErrYAMLValidate, "Value of plugin version alternatives must be a sequence")
			}
			for _, a := range alt.Content {
				more, fail := r.requirement(resolve(a), pctx.at(resolve(a), "required plugin versions alternative", ""))
				if fail != nil {
					return fail
				}
				wants = append(wants, more...)
			}
		}
		if fail := r.plugin(wants, pctx); fail != nil {
			return fail
		}
	}
	r.unknownKeys(n, ctx, key)
	return nil
}

type requirement struct {
	name string
	want version
}

func (r *reader) requirement(p *yaml.Node, ctx *context) ([]requirement, *failure) {
	if p.Kind != yaml.MappingNode {
		return nil, ctx.fail(ErrYAMLValidate, "Plugin version must be a mapping")
	}
	name, _, fail := scalar(p, "name", ctx, required)
	if fail != nil {
		return nil, fail
	}
	s, _, fail := scalar(p, "version", ctx, required)
	if fail != nil {
		return nil, fail
	}
	v, ok := parseVersion(s)
	if !ok {
		return nil, ctx.fail(ErrValidate, "Invalid required version '%s' for plugin '%s'", s, name)
	}
	return []requirement{{name, v}}, nil
}

func (r *reader) plugin(wants []requirement, ctx *context) *failure {
	seen := map[string]bool{}
	var names []string
	known := false
	for _, w := range wants {
		if seen[w.name] {
			return ctx.fail(ErrValidate, "Defined multiple alternative version requirements for plugin '%s'", w.name)
		}
		seen[w.name] = true
		names = append(names, w.name+" "+w.want.String())
		if v, ok := plugins[w.name]; ok {
			known = true
			if have, _ := parseVersion(v); have.satisfies(w.want) {
				return nil
			}
		}
	}
	if known {
		return ctx.fail(ErrValidate, "the rules require the plugin %s, gyre follows %v", strings.Join(names, " or "), plugins)
	}
	r.warn(ctx.fail(WarnUnknownSource, "gyre has no plugin %s: rules about its events are skipped", strings.Join(names, " or ")))
	return nil
}
