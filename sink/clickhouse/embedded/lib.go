package embedded

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gyre-sec/gyre/daemon"
)

// The library: a ClickHouse server of 26.7 in the form that its npm package ships.
const (
	libPackage = "@chdb/lib-linux-x64-gnu"
	libVersion = "26.7.3-stable.1"
	libName    = "libchdb.so"
	libSHA256  = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5"
)

// Errors that callers tell apart.
var (
	// ErrNone: there is no ClickHouse on this machine.
	ErrNone = errors.New("no ClickHouse on this machine")
	// ErrFetch: the library could not be fetched.
	ErrFetch = errors.New("fetch the embedded ClickHouse")
	// ErrTooOld: the server that was found is older than this program needs.
	ErrTooOld = errors.New("ClickHouse is too old")
	// ErrInUse: another server holds the data directory.
	ErrInUse = errors.New("ClickHouse data directory is in use")
)

// CacheDirs are where the library is looked for, in order; the first is where [Fetch] puts it.
func CacheDirs() []string {
	var dirs []string
	if d := os.Getenv("GYRE_CACHE_DIR"); d != "" {
		dirs = append(dirs, d)
	}
	if os.Geteuid() == 0 {
		dirs = append(dirs, "/var/cache/gyre")
	}
	if d, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(d, "gyre"))
	}
	if os.Geteuid() != 0 {
		dirs = append(dirs, "/var/cache/gyre")
	}
	return dirs
}

func libPath(cache string) string { return filepath.Join(cache, "clickhouse", libVersion, libName) }

// FindLib returns the path of the library in a cache directory, or [ErrNone]. Its checksum was verified when it was fetched.
func FindLib() (string, error) {
	for _, d := range CacheDirs() {
		if fi, err := os.Stat(libPath(d)); err == nil && fi.Mode().IsRegular() {
			return libPath(d), nil
		}
	}
	return "", daemon.Hint(fmt.Errorf("%w: no clickhouse on PATH, no %s in %s", ErrNone, libName, strings.Join(CacheDirs(), " or ")),
		"fetch it with `gyre clickhouse fetch` (needs npm), install clickhouse 25.3 or later, or name a server with clickhouse.dsn")
}

// Fetch downloads the library with npm, checks it and puts it into the first cache
// directory. It returns at once if it is there.
func Fetch(ctx context.Context, log *slog.Logger) (string, error) {
	if p, err := FindLib(); err == nil {
		return p, nil
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", daemon.Hint(fmt.Errorf("%w: there is none for %s/%s", ErrFetch, runtime.GOOS, runtime.GOARCH), "name a server with clickhouse.dsn")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", daemon.Hint(fmt.Errorf("%w: npm is not on PATH", ErrFetch), "install npm (apt-get install npm), or name a server with clickhouse.dsn")
	}
	dirs := CacheDirs()
	if len(dirs) == 0 {
		return "", daemon.Hint(fmt.Errorf("%w: no cache directory", ErrFetch), "set GYRE_CACHE_DIR")
	}
	dst := libPath(dirs[0])
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dst), "fetch-")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	log.Info("fetching the embedded ClickHouse with npm: 178 MB", "package", libPackage, "version", libVersion, "into", filepath.Dir(dst))
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--pack-destination", tmp, libPackage+"@"+libVersion)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", daemon.Hint(fmt.Errorf("%w: npm pack: %w: %s", ErrFetch, err, strings.TrimSpace(string(out))), "check that this machine reaches its npm registry")
	}
	tars, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(tars) != 1 {
		return "", fmt.Errorf("%w: npm pack left %d packages", ErrFetch, len(tars))
	}
	lib := filepath.Join(tmp, libName)
	if err := extract(tars[0], lib); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if err := os.Rename(lib, dst); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	log.Info("embedded ClickHouse is here", "path", dst)
	return dst, nil
}

// extract takes the library out of a package and checks it.
func extract(tgz, dst string) error {
	f, err := os.Open(tgz)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return fmt.Errorf("find %s in the package: %w", libName, err)
		}
		if filepath.Base(h.Name) == libName && h.Typeflag == tar.TypeReg {
			return writeChecked(dst, r)
		}
	}
}

func writeChecked(dst string, r io.Reader) error {
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), r)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", dst, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != libSHA256 {
		return fmt.Errorf("sha256 of %s is %s, want %s: the package was changed", libName, got, libSHA256)
	}
	return nil
}
