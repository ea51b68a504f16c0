package twilio

import (
	"encoding/base64"
	"errors"
	"net/url"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func settings(url string) *Config {
	c := Default()
	c.URL, c.AccountSID, c.AuthToken, c.From, c.To = url, "AC1", daemon.NewSecret(notifytest.Secret), "+15550001111", "+15550002222"
	return c
}

func TestTwilio(t *testing.T) {
	for name, key := range map[string]string{"account": "", "API key": "SK1"} {
		t.Run(name, func(t *testing.T) {
			user, from := "AC1", "From"
			notifytest.RunHTTP(t, notifytest.HTTP{
				Settings: func(_ testing.TB, url string) notify.Settings {
					c := settings(url)
					if c.KeySID = key; key != "" {
						c.From, user, from = "MG1", key, "MessagingServiceSid"
					}
					return c
				},
				Answer: `{"sid":"SM1","status":"queued","error_code":null}`, Status: 201, Limit: 8000, // as a form
				Check: func(t *testing.T, r notifytest.Request) {
					form, err := url.ParseQuery(string(r.Body))
					if err != nil || r.Path != "/2010-04-01/Accounts/AC1/Messages.json" || form.Get("To") != "+15550002222" || form.Get(from) == "" || len([]rune(form.Get("Body"))) > maxText {
						t.Errorf("%s %v %v", r.Path, form, err)
					}
					if r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+notifytest.Secret)) {
						t.Error("not logged in")
					}
				},
			})
		})
	}
}

func TestAnswers(t *testing.T) {
	refused := bus.Permanent(errors.New("the server answers 400 Bad Request"))
	if err := failed([]byte(`{"code":21211,"message":"Invalid 'To' Phone Number: x","status":400}`), refused); err == nil || bus.IsPermanent(err) {
		t.Errorf("a wrong number: %v", err)
	}
	if err := failed([]byte(`{"code":21617,"message":"The concatenated message body exceeds the 1600 character limit","status":400}`), refused); !bus.IsPermanent(err) {
		t.Errorf("a long text: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"account": func(c *Config) { c.AccountSID = "../x" }, "key": func(c *Config) { c.KeySID = "a b" }, "no token": func(c *Config) { c.AuthToken = daemon.Secret{} }, "no from": func(c *Config) { c.From = "" }, "no to": func(c *Config) { c.To = "" },
	} {
		c := settings("https://x")
		if set(c); c.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
