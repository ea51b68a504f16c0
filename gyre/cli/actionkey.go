package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// pemPrivateKey is the PEM type of a key in PKCS #8 (RFC 5958).
const pemPrivateKey = "PRIVATE KEY"

func (a *app) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make a key to sign requests with", Args: cobra.ExactArgs(1),
		Long: "Writes a new Ed25519 private key to FILE (PKCS #8 in PEM, readable by you alone) and prints the public key for the policies of the nodes.",
		RunE: func(_ *cobra.Command, args []string) error {
			return a.keygen(args[0], "add the public key to the policies of the nodes that shall trust it:\n\nactions:\n  keys:\n    - name: YOUR NAME\n      public_key: %s\n")
		},
	}
}

func (a *app) rulesKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make a key to sign rule sets with", Args: cobra.ExactArgs(1),
		Long: "Writes a new Ed25519 private key to FILE (PKCS #8 in PEM, readable by you alone) and prints the public key for the configuration of the evaluators.",
		RunE: func(_ *cobra.Command, args []string) error {
			return a.keygen(args[0], "evaluators with this in their configuration load only rule sets that are signed by one of the keys:\n\nevaluator:\n  rule_keys:\n    - %s\n")
		},
	}
}

// keygen writes a new private key and prints trust, in which %s stands for the public key.
func (a *app) keygen(file, trust string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return daemon.Hint(fmt.Errorf("write key: %w", err), "name another file: an existing key is never overwritten")
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: pemPrivateKey, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write key %s: %w", file, err)
	}
	_, err = fmt.Fprintf(a.out, "wrote the private key to %s (key id %s)\n"+trust, file, actionv1.KeyID(public), base64.StdEncoding.EncodeToString(public))
	return err
}

// loadKey reads what keygen wrote.
func loadKey(file string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, daemon.Hint(fmt.Errorf("read key: %w", err), "make one with gyre action keygen "+file)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, daemon.Hint(fmt.Errorf("key %s can be read by others (mode %04o)", file, info.Mode().Perm()), "chmod 600 "+file+", and make a new key if somebody else may have read it")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemPrivateKey {
		return nil, daemon.Hint(fmt.Errorf("key %s holds no PEM block %q", file, pemPrivateKey), "name the file that gyre action keygen wrote")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", file, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, daemon.Hint(fmt.Errorf("key %s is of another kind (%T), want Ed25519", file, parsed), "make one with gyre action keygen FILE")
	}
	return key, nil
}
