package actionv1

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// Status is what became of a request.
type Status string

// The states.
const (
	// Executed: the action was carried out.
	Executed Status = "executed"
	// Refused: nothing was done.
	Refused Status = "refused"
	// Failed: the action was begun and did not come to its end.
	Failed Status = "failed"
)

// MaxHits bounds the targets that a result lists.
const MaxHits = 1024

// maxResult bounds a result, in bytes: [MaxHits] rows with exec ids of usual length and room to spare.
const maxResult = 2 << 20

// Hit is a process that an action was done to. ExecID is empty if the node does not know it.
type Hit struct {
	ExecID string `json:"exec_id"`
	PID    uint32 `json:"pid"`
}

// Result says what became of a request on a node.
//
// What it repeats of the request (id, action, target, reason of the request, key) is what the
// message claimed; a result with the code of an unauthentic request says that these claims are not proved.
type Result struct {
	RequestID ID     `json:"request_id"`
	Node      string `json:"node"`
	Status    Status `json:"status"`
	// Code names the reason for programs, such as "expired"; empty for what was executed.
	Code string `json:"code"`
	// Reason is the same for people.
	Reason string `json:"reason"`
	// When it was decided, in nanoseconds since the Unix epoch.
	When int64 `json:"-"`
	// Hits are the processes that the action was done to, or with DryRun would have been; at most [MaxHits] of HitCount.
	Hits     []Hit  `json:"hits"`
	HitCount uint64 `json:"hit_count"`
	DryRun   bool   `json:"dry_run"`
	Action   Action `json:"action"`
	Target   string `json:"target"`
	// Why is the reason that the request gave.
	Why   string `json:"why"`
	KeyID string `json:"key_id"`
	// KeyName is what the node's policy calls the key; empty if the signature was not proved.
	KeyName string `json:"key_name"`
	// Digest names the bytes of the request that this answers.
	Digest Digest `json:"digest"`
}

// Time is When as a UTC time.
func (r *Result) Time() time.Time { return time.Unix(0, r.When).UTC() }

// MarshalJSON writes the result as an object with "time" in RFC 3339 with nanoseconds.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result
	if r.Hits == nil {
		r.Hits = []Hit{}
	}
	return json.Marshal(struct {
		Time string `json:"time"`
		plain
	}{r.Time().Format(time.RFC3339Nano), plain(r)})
}

// Marshal writes the result as one array:
//
//	[version, request_id, node, status, code, reason, when, hits[[exec_id, pid]...], hit_count, dry_run,
//	 action, target, why, key_id, key_name, digest]
func (r *Result) Marshal() []byte {
	e := wire.NewEncoder()
	e.Array(16)
	e.Int(Version)
	e.Bytes(r.RequestID[:])
	e.String(r.Node)
	e.String(string(r.Status))
	e.String(r.Code)
	e.String(r.Reason)
	e.Int(r.When)
	hits := r.Hits[:min(len(r.Hits), MaxHits)]
	e.Array(len(hits))
	for _, h := range hits {
		e.Array(2)
		e.String(h.ExecID)
		e.Uint(uint64(h.PID))
	}
	e.Uint(r.HitCount)
	e.Bool(r.DryRun)
	e.String(string(r.Action))
	e.String(r.Target)
	e.String(r.Why)
	e.String(r.KeyID)
	e.String(r.KeyName)
	e.Bytes(r.Digest[:])
	return e.Data()
}

// UnmarshalResult reads what [Result.Marshal] wrote, now or in any earlier release.
// Errors wrap [ErrTooLarge], [ErrVersion] or [wire.ErrMalformed].
func UnmarshalResult(data []byte) (Result, error) {
	var r Result
	if len(data) > maxResult {
		return r, fmt.Errorf("%w: result of %d bytes, at most %d", ErrTooLarge, len(data), maxResult)
	}
	d, n, err := begin(data, "result", 16)
	if err != nil {
		return r, err
	}
	readID(d, &r.RequestID)
	r.Node, r.Status, r.Code, r.Reason, r.When = d.String(), Status(d.String()), d.String(), d.String(), d.Int()
	switch r.Status {
	case Executed, Refused, Failed:
	default:
		d.Fail("unknown status %q", r.Status)
	}
	r.Hits = readHits(d)
	r.HitCount, r.DryRun = d.Uint(), d.Bool()
	r.Action, r.Target, r.Why, r.KeyID, r.KeyName = Action(d.String()), d.String(), d.String(), d.String(), d.String()
	if b := d.Bytes(); len(b) == len(r.Digest) {
		copy(r.Digest[:], b)
	} else {
		d.Fail("digest of %d bytes, want %d", len(b), len(r.Digest))
	}
	if err := end(d, n-16); err != nil {
		return Result{}, err
	}
	return r, nil
}

func readHits(d *wire.Decoder) []Hit {
	n := d.Array("hits", MaxHits)
	if n == 0 {
		return nil
	}
	hits := make([]Hit, n)
	for i := range hits {
		m := d.Array("hit", maxElements)
		if m < 2 {
			d.Fail("hit of %d elements, want 2", m)
			return nil
		}
		hits[i] = Hit{ExecID: d.String(), PID: d.Uint32()}
		d.Skip(m - 2)
	}
	return hits
}
