package notifytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Request is what a server got.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// JSON decodes the body.
func (r Request) JSON(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.Body, &v); err != nil {
		t.Fatalf("the body is no JSON object: %v\n%s", err, r.Body)
	}
	return v
}

// Recorder is a server that records requests and answers as it is told.
type Recorder struct {
	*httptest.Server
	mu     sync.Mutex
	reqs   []Request
	answer http.HandlerFunc
}

// NewRecorder starts one.
func NewRecorder(t testing.TB, answer http.HandlerFunc) *Recorder {
	t.Helper()
	r := &Recorder{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *Recorder) serve(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.reqs = append(r.reqs, Request{req.Method, req.URL.Path, req.URL.RawQuery, req.Header.Clone(), body})
	answer := r.answer
	r.mu.Unlock()
	req.Body = io.NopCloser(bytes.NewReader(body))
	answer(w, req)
}

// Answer changes what the server answers.
func (r *Recorder) Answer(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

// Requests returns what came since the last call.
func (r *Recorder) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.reqs
	r.reqs = nil
	return out
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// String is what was written.
func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
