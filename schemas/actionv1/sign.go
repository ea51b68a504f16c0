package actionv1

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
)

// KeyID names a public key: the first 16 hexadecimal digits of its SHA-256. It only
// finds the key; what is trusted is the whole of it.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// Digest names the bytes of a signed request.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a message, whatever it holds.
func DigestOf(message []byte) Digest { return sha256.Sum256(message) }

// String returns hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns hexadecimal digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Sign validates a request, sets its key id and returns the signed message.
func Sign(r *Request, key ed25519.PrivateKey) ([]byte, error) {
	public, _ := key.Public().(ed25519.PublicKey)
	r.KeyID = KeyID(public)
	if err := r.Validate(); err != nil {
		return nil, err
	}
	body := r.Marshal()
	return Envelope{Body: body, Signature: ed25519.Sign(key, body)}.Marshal()
}

// Verify checks the signature over exactly the bytes of Body. Errors wrap [ErrUnsigned] or [ErrSignature].
func (e Envelope) Verify(public ed25519.PublicKey) error {
	switch {
	case len(e.Signature) == 0:
		return ErrUnsigned
	case len(public) != ed25519.PublicKeySize, len(e.Signature) != ed25519.SignatureSize, !ed25519.Verify(public, e.Body, e.Signature):
		return ErrSignature
	}
	return nil
}
