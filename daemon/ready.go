package daemon

import "sync"

// Readiness collects the readiness checks of a process.
type Readiness struct {
	mu     sync.Mutex
	phase  string // "starting", "stopping", or "" in between
	checks []check
}

type check struct {
	name string
	fn   func() error
}

// PartStatus is the answer of one check.
type PartStatus struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
	// Remedy is what the error knows of one.
	Remedy string `json:"remedy,omitempty"`
}

func newReadiness() *Readiness { return &Readiness{phase: "starting"} }

// Add registers a check. It is called for every question and must not block.
func (r *Readiness) Add(name string, fn func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, check{name, fn})
}

func (r *Readiness) setPhase(phase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = phase
}

// Check asks every part and says whether all are ready. While the process starts or stops it is not ready, which the
// first answer says under the name "process".
func (r *Readiness) Check() ([]PartStatus, bool) {
	r.mu.Lock()
	phase, checks := r.phase, append([]check(nil), r.checks...)
	r.mu.Unlock()
	all := phase == ""
	list := []PartStatus{{Name: "process", Ready: all, Error: phase}}
	for _, c := range checks {
		s := PartStatus{Name: c.name, Ready: true}
		if err := c.fn(); err != nil {
			s.Ready, s.Error, s.Remedy, all = false, err.Error(), Remedy(err), false
		}
		list = append(list, s)
	}
	return list, all
}
