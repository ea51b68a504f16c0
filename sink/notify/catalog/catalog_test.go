package catalog_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify/catalog"
)

// TestSecretsAreSecrets: a setting that sounds like a secret is of the type that is never printed, and every setting is documented.
func TestSecretsAreSecrets(t *testing.T) {
	secret := reflect.TypeFor[daemon.Secret]()
	for _, kind := range catalog.Kinds() {
		s := catalog.New(kind)
		if err := s.Validate(); err == nil && kind != "stdout" {
			t.Errorf("%s: the defaults say where to send", kind)
		}
		var walk func(reflect.Type)
		walk = func(typ reflect.Type) {
			for f := range typ.Fields() {
				tag := f.Tag.Get("yaml")
				switch {
				case strings.Contains(tag, "inline"):
					walk(f.Type)
					continue
				case !f.IsExported():
					continue
				}
				name := strings.ToLower(f.Name)
				for _, word := range []string{"token", "password", "apikey", "routingkey", "authorization", "hmac"} {
					if strings.Contains(name, word) && f.Type != secret {
						t.Errorf("%s.%s is a %s", kind, tag, f.Type)
					}
				}
				if f.Tag.Get("doc") == "" {
					t.Errorf("%s.%s has no description", kind, tag)
				}
			}
		}
		walk(reflect.TypeOf(s).Elem())
	}
	if catalog.New("nothing") != nil {
		t.Error("there is an output of no type")
	}
}
