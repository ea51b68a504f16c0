package label

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// source is something that is read whole and swapped when it changed. The old one stays in force when the new one is bad.
type source[T any] struct {
	name  string // in metrics and logs
	file  string // "" if the content comes from a bucket
	parse func(file string, data []byte) (T, error)
	now   atomic.Pointer[T]
	stamp string
}

// load reads the content of the file if it changed. It tells whether it did.
func (s *source[T]) load() (bool, error) {
	if s.file == "" {
		return false, nil
	}
	st, err := os.Stat(s.file)
	if err != nil {
		return s.changed("missing"), fmt.Errorf("read %s: %w", s.name, err)
	}
	if _, ok := s.get(); ok && time.Since(st.ModTime()) < settle {
		return false, nil
	}
	if !s.changed(fmt.Sprint(st.ModTime().UnixNano(), st.Size(), st.Mode())) {
		return false, nil
	}
	if st.Size() > maxFile || !st.Mode().IsRegular() {
		return true, fmt.Errorf("read %s: %s is no regular file of at most %d bytes", s.name, s.file, maxFile)
	}
	data, err := os.ReadFile(s.file)
	if err != nil {
		return true, fmt.Errorf("read %s: %w", s.name, err)
	}
	return true, s.set(s.file, data)
}

func (s *source[T]) changed(stamp string) bool {
	was := s.stamp
	s.stamp = stamp
	return was != stamp
}

// set parses content and puts it into force.
func (s *source[T]) set(file string, data []byte) error {
	v, err := s.parse(file, data)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	s.now.Store(&v)
	return nil
}

// get returns what is in force, false before anything is.
func (s *source[T]) get() (v T, ok bool) {
	if p := s.now.Load(); p != nil {
		return *p, true
	}
	return v, false
}

// loader is a source of any type.
type loader interface {
	load() (bool, error)
	title() string
}

func (s *source[T]) title() string { return s.name }

// settle is how old a change of a file must be before it is read: a copy may be in the middle of writing it.
const settle = 100 * time.Millisecond
