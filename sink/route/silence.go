package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Silence keeps the alerts that it matches from being notified between two times. They are stored all the same.
type Silence struct {
	ID      string    `json:"id"`
	Match   Match     `json:"match"`
	Starts  time.Time `json:"starts"`
	Ends    time.Time `json:"ends"`
	Author  string    `json:"author"`
	Comment string    `json:"comment"`
}

// Validate checks a silence.
func (s *Silence) Validate() error {
	switch {
	case s.ID == "":
		return errors.New("a silence needs an id")
	case s.Match.Empty():
		return errors.New("a silence without conditions would silence everything: name a rule, node, priority or field")
	case !s.Ends.After(s.Starts):
		return errors.New("a silence ends after it starts")
	}
	return s.Match.Validate()
}

// State is "pending", "active" or "expired".
func (s *Silence) State(now time.Time) string {
	switch {
	case now.Before(s.Starts):
		return "pending"
	case now.Before(s.Ends):
		return "active"
	}
	return "expired"
}

// ParseSilence reads what is stored.
func ParseSilence(data []byte) (Silence, error) {
	var s Silence
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("decode silence: %w", err)
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("silence %s: %w", s.ID, err)
	}
	return s, nil
}

// Silences is the set in force. It is safe for concurrent use.
type Silences struct {
	mu  sync.RWMutex
	set map[string]silence
}

type silence struct {
	Silence
	match *Matcher
}

// Set adds or replaces one.
func (s *Silences) Set(sil Silence) error {
	m, err := sil.Match.Compile()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[string]silence{}
	}
	s.set[sil.ID] = silence{sil, m}
	return nil
}

// Delete removes one.
func (s *Silences) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, id)
}

// Silenced returns the id of an active silence that matches, "" if there is none.
func (s *Silences) Silenced(a *alertv1.Alert, now time.Time) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, sil := range s.set {
		if sil.State(now) == "active" && sil.match.Match(a) {
			return id
		}
	}
	return ""
}
