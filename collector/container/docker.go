package container

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 16 << 20

// docker speaks the HTTP interface of Docker, which podman's service has too, on unix sockets.
type docker struct {
	runtime string
	sockets []string

	mu      sync.Mutex
	clients map[string]*http.Client
	digests map[string]string // of images, by id and repository
}

func newDocker(runtime string, sockets []string) *docker {
	return &docker{runtime: runtime, sockets: sockets, clients: map[string]*http.Client{}, digests: map[string]string{}}
}

func (d *docker) name() string { return d.runtime }

// present lists the sockets that are there.
func present(patterns []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range patterns {
		paths, err := filepath.Glob(p)
		if err != nil {
			continue
		}
		for _, path := range paths {
			real, err := filepath.EvalSymlinks(path)
			if err == nil && !seen[real] {
				seen[real] = true
				out = append(out, real)
			}
		}
	}
	return out
}

func sockets(patterns []string) []string {
	var out []string
	for _, p := range present(patterns) {
		if info, err := os.Stat(p); err == nil && info.Mode()&os.ModeSocket != 0 {
			out = append(out, p)
		}
	}
	return out
}

func (d *docker) client(socket string) *http.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.clients[socket]
	if c == nil {
		var dialer net.Dialer
		c = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
			MaxIdleConns:    4,
			IdleConnTimeout: time.Minute,
		}}
		d.clients[socket] = c
	}
	return c
}

// get asks for a path; the caller closes the body.
func (d *docker) get(ctx context.Context, socket, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://runtime"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.client(socket).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound {
			return nil, errNotFound
		}
		return nil, fmt.Errorf("ask %s for %s: %s", socket, path, resp.Status)
	}
	return resp.Body, nil
}

func (d *docker) read(ctx context.Context, socket, path string, v any) error {
	body, err := d.get(ctx, socket, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(v); err != nil {
		return fmt.Errorf("read the answer of %s to %s: %w", socket, path, err)
	}
	return nil
}

func (d *docker) list(ctx context.Context) ([]string, error) {
	var ids []string
	var errs []error
	for _, s := range sockets(d.sockets) {
		var all []struct {
			ID string `json:"Id"`
		}
		if err := d.read(ctx, s, "/containers/json?all=1", &all); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, c := range all {
			ids = append(ids, c.ID)
		}
	}
	return ids, errors.Join(errs...)
}

func (d *docker) lookup(ctx context.Context, id string) (factv1.Container, error) {
	if !isHexID(id) {
		return factv1.Container{}, errNotFound
	}
	err := errNotFound
	for _, s := range sockets(d.sockets) {
		var in inspected
		if e := d.read(ctx, s, "/containers/"+id+"/json", &in); e != nil {
			if !errors.Is(e, errNotFound) {
				err = e
			}
			continue
		}
		c := in.fact(d.runtime)
		if c.ImageDigest == "" {
			c.ImageDigest = d.digest(ctx, s, in.Image, c.ImageRepo)
		}
		return c, nil
	}
	return factv1.Container{}, err
}

// maxDigests bounds the images whose digests are remembered.
const maxDigests = 4096

// digest finds the digest under which an image came from its repository.
func (d *docker) digest(ctx context.Context, socket, image, repo string) string {
	if imageID(image) == "" {
		return ""
	}
	key := image + " " + repo
	d.mu.Lock()
	known, ok := d.digests[key]
	d.mu.Unlock()
	if ok {
		return known
	}
	var in struct{ RepoDigests []string }
	if d.read(ctx, socket, "/images/"+url.PathEscape(image)+"/json", &in) != nil {
		return ""
	}
	var digest string
	for _, r := range in.RepoDigests {
		name, dig, _ := strings.Cut(r, "@")
		if name == repo || digest == "" {
			digest = dig
		}
		if name == repo {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.digests) >= maxDigests {
		clear(d.digests)
	}
	d.digests[key] = digest
	return digest
}

// watch reads the events of all sockets that are there; a socket that comes later is found when the watch is renewed.
func (d *docker) watch(ctx context.Context, news func(string)) error {
	all := sockets(d.sockets)
	if len(all) == 0 {
		return errors.New("no socket")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(all))
	for _, s := range all {
		go func() { ended <- d.events(ctx, s, news) }()
	}
	err := <-ended
	cancel()
	for range len(all) - 1 {
		<-ended
	}
	return err
}

func (d *docker) events(ctx context.Context, socket string, news func(string)) error {
	body, err := d.get(ctx, socket, "/events?filters="+url.QueryEscape(`{"type":["container"]}`))
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Action string
			Actor  struct{ ID string }
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || !isHexID(e.Actor.ID) {
			continue
		}
		switch e.Action {
		case "create", "init", "start", "rename", "update":
			news(e.Actor.ID)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the events of %s: %w", socket, err)
	}
	return fmt.Errorf("the events of %s ended", socket)
}
