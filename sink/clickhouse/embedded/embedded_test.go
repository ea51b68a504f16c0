package embedded

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ChildArg {
		os.Exit(ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestStartStop(t *testing.T) {
	if _, err := Fetch(t.Context(), quiet()); err != nil {
		t.Fatalf("fetch: %v", err)
	}
	cfg := Config{Dir: t.TempDir()}
	for range 2 {
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		s, err := Start(t.Context(), cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		if s.PID() == 0 || !strings.Contains(s.DSN(), "127.0.0.1") {
			t.Errorf("pid %d dsn %q", s.PID(), s.DSN())
		}
		if _, err := Start(t.Context(), cfg, quiet()); !errors.Is(err, ErrInUse) {
			t.Errorf("second server in the same directory: %v", err)
		}
		if err := post(s.http, "wrong", "SELECT 1"); err == nil {
			t.Error("a wrong password was accepted")
		}
		if err := post(s.http, "", "SELECT 1"); err == nil {
			t.Error("no password was accepted")
		}
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	for text, ok := range map[string]bool{
		"ClickHouse server version 18.16.1.": false, "ClickHouse server version 25.2.9.1.": false, "26.7.3.1": true, "25.3": true, "none": false,
	} {
		if err := CheckVersion(text, "x"); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		} else if err != nil && !errors.Is(err, ErrTooOld) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
