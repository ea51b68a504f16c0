package daemon

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the linker: -ldflags "-X github.com/gyre-sec/gyre/daemon.version=v1.2.3". Nothing else writes it.
var version string

// Info says what program this is.
type Info struct {
	Version  string `json:"version"`  // Version is the release, or "devel".
	Revision string `json:"revision"` // Revision is the commit, with "-dirty" after it if files were changed; may be empty.
	Time     string `json:"time"`     // Time is the time of the commit; may be empty.
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Version reads the version that the linker and the Go tool put into the program.
func Version() Info {
	build, _ := debug.ReadBuildInfo() // nil for a program built without modules
	return versionOf(version, build)
}

func versionOf(release string, build *debug.BuildInfo) Info {
	v := Info{Version: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if build != nil {
		if v.Version == "" && build.Main.Version != "(devel)" {
			v.Version = build.Main.Version
		}
		dirty := false
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				dirty = s.Value == "true"
			}
		}
		if dirty && v.Revision != "" {
			v.Revision += "-dirty"
		}
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	return v
}

// String returns one line for --version.
func (v Info) String() string {
	parts := []string{v.Version}
	if v.Revision != "" {
		parts = append(parts, v.Revision)
	}
	return fmt.Sprintf("%s (%s, %s)", strings.Join(parts, " "), v.Go, v.Platform)
}
