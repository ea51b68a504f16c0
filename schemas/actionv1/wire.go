package actionv1

import (
	"fmt"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// maxElements bounds the arrays that are not lists: room to grow.
const maxElements = 64

// Envelope is a signed request: the encoded request and the signature over these bytes.
type Envelope struct {
	Body, Signature []byte
}

// Marshal writes [version, body(bin), signature(bin)]. It fails with [ErrTooLarge].
func (v Envelope) Marshal() ([]byte, error) {
	e := wire.NewEncoder()
	e.Array(3)
	e.Int(Version)
	e.Bytes(v.Body)
	e.Bytes(v.Signature)
	if e.Len() > MaxRequest {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, e.Len(), MaxRequest)
	}
	return e.Data(), nil
}

// Open reads an envelope; its parts alias data. Errors wrap [ErrTooLarge], [ErrVersion] or [wire.ErrMalformed].
func Open(data []byte) (Envelope, error) {
	if len(data) > MaxRequest {
		return Envelope{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxRequest)
	}
	d, n, err := begin(data, "envelope", 3)
	if err != nil {
		return Envelope{}, err
	}
	v := Envelope{Body: d.Bytes(), Signature: d.Bytes()}
	if err := end(d, n-3); err != nil {
		return Envelope{}, err
	}
	return v, nil
}

// Marshal writes the request as one array:
//
//	[version, id, node, action, target, reason, issued_at, expires_at, key_id]
func (r *Request) Marshal() []byte {
	e := wire.NewEncoder()
	e.Array(9)
	e.Int(Version)
	e.Bytes(r.ID[:])
	e.String(r.Node)
	e.String(string(r.Action))
	e.String(r.Target)
	e.String(r.Reason)
	e.Int(r.IssuedAt)
	e.Int(r.ExpiresAt)
	e.String(r.KeyID)
	return e.Data()
}

// Unmarshal reads what [Request.Marshal] wrote, now or in any earlier release. It
// does not validate. Errors wrap [ErrTooLarge], [ErrVersion] or [wire.ErrMalformed].
func Unmarshal(data []byte) (Request, error) {
	var r Request
	if len(data) > MaxRequest {
		return r, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxRequest)
	}
	d, n, err := begin(data, "request", 9)
	if err != nil {
		return r, err
	}
	readID(d, &r.ID)
	r.Node, r.Action, r.Target, r.Reason = d.String(), Action(d.String()), d.String(), d.String()
	r.IssuedAt, r.ExpiresAt, r.KeyID = d.Int(), d.Int(), d.String()
	if err := end(d, n-9); err != nil {
		return Request{}, err
	}
	return r, nil
}

// begin reads the header and the version of an array of at least want elements.
func begin(data []byte, what string, want int) (*wire.Decoder, int, error) {
	d := wire.NewDecoder()
	d.Reset(data)
	n := d.Array(what, maxElements)
	if v := d.Int(); d.Err() == nil && v != Version {
		return nil, 0, fmt.Errorf("%w: %d, want %d", ErrVersion, v, Version)
	}
	if d.Err() == nil && n < want {
		d.Fail("%s of %d elements, want at least %d", what, n, want)
	}
	return d, n, d.Err()
}

// end skips elements that are new and refuses bytes after the array.
func end(d *wire.Decoder, newer int) error {
	d.Skip(newer)
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes after the message", d.Len())
	}
	return d.Err()
}

func readID(d *wire.Decoder, id *ID) {
	b := d.Bytes()
	if len(b) != len(id) {
		d.Fail("request id of %d bytes, want %d", len(b), len(id))
		return
	}
	copy(id[:], b)
}
