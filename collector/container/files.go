package container

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// dockerFiles reads what Docker keeps of its containers on disk.
type dockerFiles struct{ dirs []string }

func (*dockerFiles) name() string { return "docker files" }

func (d *dockerFiles) list(context.Context) ([]string, error) { return listDirs(d.dirs) }

func (d *dockerFiles) watch(ctx context.Context, news func(string)) error {
	return watchDirs(ctx, d.dirs, news)
}

func (d *dockerFiles) lookup(_ context.Context, id string) (factv1.Container, error) {
	if !isHexID(id) {
		return factv1.Container{}, errNotFound
	}
	for _, dir := range present(d.dirs) {
		var v struct {
			inspected
			MountPoints map[string]inspectedMount
		}
		if readJSON(filepath.Join(dir, id, "config.v2.json"), &v) != nil {
			continue
		}
		if readJSON(filepath.Join(dir, id, "hostconfig.json"), &v.HostConfig) != nil {
			continue
		}
		for _, m := range v.MountPoints {
			v.Mounts = append(v.Mounts, m)
		}
		return v.fact("docker"), nil
	}
	return factv1.Container{}, errNotFound
}

// storage reads the lists that podman and CRI-O keep of their containers, containers.json: names and images.
type storage struct {
	dirs []string

	mu    sync.Mutex
	read  map[string]stamp
	known map[string]map[string]stored // by file and id
}

type stamp struct {
	mod  time.Time
	size int64
}

type stored struct {
	ID       string   `json:"id"`
	Names    []string `json:"names"`
	Image    string   `json:"image"`
	Metadata string   `json:"metadata"`
}

func (*storage) name() string { return "storage" }

// load reads the lists that have changed.
func (s *storage) load() map[string]map[string]stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read == nil {
		s.read, s.known = map[string]stamp{}, map[string]map[string]stored{}
	}
	for _, dir := range present(s.dirs) {
		for _, file := range []string{"containers.json", "volatile-containers.json"} {
			path := filepath.Join(dir, file)
			info, err := os.Stat(path)
			if err != nil {
				delete(s.read, path)
				delete(s.known, path)
				continue
			}
			now := stamp{info.ModTime(), info.Size()}
			if s.read[path] == now {
				continue
			}
			var all []stored
			if readJSON(path, &all) != nil {
				continue // being written: the next look sees it
			}
			m := make(map[string]stored, len(all))
			for _, c := range all {
				m[c.ID] = c
			}
			s.read[path], s.known[path] = now, m
		}
	}
	out := make(map[string]map[string]stored, len(s.known))
	maps.Copy(out, s.known)
	return out
}

func (s *storage) list(context.Context) ([]string, error) {
	var ids []string
	for _, m := range s.load() {
		for id := range m {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (s *storage) lookup(_ context.Context, id string) (factv1.Container, error) {
	for _, m := range s.load() {
		c, ok := m[id]
		if !ok {
			continue
		}
		var meta struct {
			ImageName string `json:"image-name"`
			ImageID   string `json:"image-id"`
			Name      string `json:"name"`
			PodName   string `json:"pod-name"`
		}
		_ = json.Unmarshal([]byte(c.Metadata), &meta) // another program's containers may have none
		f := factv1.Container{ImageID: imageID(cmp.Or(c.Image, meta.ImageID)), Name: meta.Name}
		if f.Name == "" && len(c.Names) > 0 {
			f.Name = c.Names[0]
		}
		if meta.PodName == "" {
			f.Runtime = "podman"
		}
		f.SetImage(meta.ImageName)
		return f, nil
	}
	return factv1.Container{}, errNotFound
}

// watch has nothing to do: the bundles lie in the same directories.
func (s *storage) watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return ctx.Err()
}

// parseAccounts reads passwd(5) and group(5), the first lines of each.
func parseAccounts(passwd, group []byte) (users []factv1.User, groups []factv1.Group) {
	const limit = factv1.MaxContainerAccounts
	for line := range strings.Lines(string(passwd)) {
		v := strings.Split(strings.TrimSpace(line), ":")
		if len(v) < 7 || v[0] == "" || len(users) >= limit {
			continue
		}
		uid, err1 := number(v[2])
		gid, err2 := number(v[3])
		if err1 == nil && err2 == nil {
			users = append(users, factv1.User{UID: uid, GID: gid, Name: v[0], Home: v[5], Shell: v[6]})
		}
	}
	for line := range strings.Lines(string(group)) {
		v := strings.Split(strings.TrimSpace(line), ":")
		if len(v) < 3 || v[0] == "" || len(groups) >= limit {
			continue
		}
		if gid, err := number(v[2]); err == nil {
			groups = append(groups, factv1.Group{GID: gid, Name: v[0]})
		}
	}
	slices.SortStableFunc(users, func(a, b factv1.User) int { return cmp.Compare(a.UID, b.UID) })
	slices.SortStableFunc(groups, func(a, b factv1.Group) int { return cmp.Compare(a.GID, b.GID) })
	return users, groups
}
