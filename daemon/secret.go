package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

const redacted = "<secret>"

// Secret is a password, token or key. Every way of printing it gives "<secret>"; only [Secret.Resolve] gives the
// value. In a configuration a field `password` of this type is set by `password_file`, which names a file that holds
// the value, by `password_env`, which names an environment variable, or by the variable of the setting itself; a literal in the file or on the command line is refused, because both are
// read by more people than the secret is meant for. The zero value is an unset secret.
type Secret struct {
	// value is a pointer because fmt prints unexported fields of other structs without asking for methods: an
	// address is harmless.
	value *string
	file  string
	env   string
}

// NewSecret returns a secret with the given value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// SecretFile returns a secret whose value is read from a file each time it is asked for.
func SecretFile(path string) Secret { return Secret{file: path} }

// SecretEnv returns a secret whose value is in an environment variable.
func SecretEnv(name string) Secret { return Secret{env: name} }

// IsSet says whether there is a value, or a file or variable to read it from.
func (s Secret) IsSet() bool { return s.value != nil || s.file != "" || s.env != "" }

// Resolve returns the value, read from its file if it has one, without the line break at the end of the file. An
// unset secret is "".
func (s Secret) Resolve() (string, error) {
	if s.value != nil {
		return *s.value, nil
	}
	if s.env != "" {
		v, ok := os.LookupEnv(s.env)
		if !ok {
			return "", Hint(fmt.Errorf("read secret: the environment has no variable %s", s.env), "set the variable where this program is started")
		}
		return v, nil
	}
	if s.file == "" {
		return "", nil
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return "", Hint(fmt.Errorf("read secret: %w", err), "create the file, readable by this program's user only")
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// Equal says whether both have the same value or the same file.
func (s Secret) Equal(o Secret) bool {
	if (s.value == nil) != (o.value == nil) || s.file != o.file || s.env != o.env {
		return false
	}
	return s.value == nil || *s.value == *o.value
}

// String returns "<secret>".
func (s Secret) String() string { return redacted }

// Format writes "<secret>" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "<secret>".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "<secret>" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML returns "<secret>".
func (s Secret) MarshalYAML() (any, error) { return redacted, nil }

// LogValue returns "<secret>".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
