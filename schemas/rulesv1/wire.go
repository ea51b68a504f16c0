package rulesv1

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/wire"
)

// maxElements bounds the arrays that are not lists: room to grow.
const maxElements = 64

// domain is put before the bytes that are signed, so that a signature of something else is none of a rule set.
const domain = "gyre rule set v1\x00"

// Marshal validates a set and writes it, signed if key is not nil, as
//
//	[version, body(bin), signature(bin)]
//
// body is, compressed with zlib, [name, pushed, author, comment, key_id, [[file name, data(bin)]...]].
func Marshal(s *Set, key ed25519.PrivateKey) ([]byte, error) {
	if s.KeyID = ""; key != nil {
		public, _ := key.Public().(ed25519.PublicKey)
		s.KeyID = actionv1.KeyID(public)
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	e := wire.NewEncoder()
	e.Array(6)
	e.String(s.Name)
	e.Int(s.Pushed)
	e.String(s.Author)
	e.String(s.Comment)
	e.String(s.KeyID)
	e.Array(len(s.Files))
	for _, f := range s.Files {
		e.Array(2)
		e.String(f.Name)
		e.Bytes(f.Data)
	}
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress rule set: %w", err)
	}
	if _, err = z.Write(e.Data()); err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compress rule set: %w", err)
	}
	var signature []byte
	if key != nil {
		signature = ed25519.Sign(key, signed(packed.Bytes()))
	}
	e = wire.NewEncoder()
	e.Array(3)
	e.Int(Version)
	e.Bytes(packed.Bytes())
	e.Bytes(signature)
	if e.Len() > MaxDocument {
		return nil, fmt.Errorf("%w: %d bytes compressed, at most %d", ErrTooLarge, e.Len(), MaxDocument)
	}
	return e.Data(), nil
}

func signed(body []byte) []byte { return append([]byte(domain), body...) }

// Document is a set that was read, and what its signature is made of.
type Document struct {
	Set
	body, signature []byte
}

// Signed tells whether there is a signature, of whomever.
func (d *Document) Signed() bool { return len(d.signature) > 0 }

// Verify returns nil if one of the keys has signed the document; otherwise [ErrUnsigned] or [ErrSignature].
func (d *Document) Verify(keys []ed25519.PublicKey) error {
	if !d.Signed() {
		return ErrUnsigned
	}
	for _, k := range keys {
		if ed25519.Verify(k, signed(d.body), d.signature) {
			return nil
		}
	}
	return fmt.Errorf("%w: it names the key %q", ErrSignature, d.KeyID)
}

// Open reads what [Marshal] wrote, now or in any earlier release, and validates it. It does not verify the
// signature. Errors wrap [ErrMalformed], [ErrInvalid] or [ErrTooLarge].
func Open(data []byte) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxDocument)
	}
	d := wire.NewDecoder()
	d.Reset(data)
	n := d.Array("document", maxElements)
	version := d.Int()
	if d.Err() == nil && version != Version {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrMalformed, version, Version)
	}
	doc := &Document{body: d.Bytes(), signature: d.Bytes()}
	if err := end(d, "document", n, 3); err != nil {
		return nil, err
	}
	if len(doc.signature) != 0 && len(doc.signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: a signature of %d bytes", ErrMalformed, len(doc.signature))
	}
	plain, err := inflate(doc.body)
	if err != nil {
		return nil, err
	}
	d.Reset(plain)
	n = d.Array("rule set", maxElements)
	doc.Name, doc.Pushed, doc.Author, doc.Comment, doc.KeyID = d.String(), d.Int(), d.String(), d.String(), d.String()
	for range d.Array("files", MaxFiles) {
		parts := d.Array("file", maxElements)
		if parts < 2 {
			d.Fail("file of %d elements, want at least 2", parts)
			break
		}
		doc.Files = append(doc.Files, File{d.String(), d.Bytes()})
		d.Skip(parts - 2)
	}
	if err := end(d, "rule set", n, 6); err != nil {
		return nil, err
	}
	if err := doc.Validate(); err != nil {
		return nil, err
	}
	return doc, nil
}

// end skips elements that are new and refuses missing ones and bytes after the array.
func end(d *wire.Decoder, what string, have, want int) error {
	if d.Err() == nil && have < want {
		d.Fail("%s of %d elements, want at least %d", what, have, want)
	}
	d.Skip(have - want)
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes after the %s", d.Len(), what)
	}
	if err := d.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// inflate decompresses a body, up to a bound that is a little above what valid content can need.
func inflate(body []byte) ([]byte, error) {
	const limit = MaxContent + MaxFiles*(MaxName+16) + 4*MaxText
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	case len(plain) > limit:
		return nil, fmt.Errorf("%w: it decompresses to more than %d bytes", ErrTooLarge, limit)
	}
	return plain, nil
}

// ParseKey reads a public key in base64. Its id is [actionv1.KeyID].
func ParseKey(text string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%.60q is not an Ed25519 public key: 32 bytes in base64, as gyre rules keygen prints it", text)
	}
	return b, nil
}
