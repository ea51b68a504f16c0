// Package twilio sends text messages (SMS) through Twilio.
package twilio

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL        string        `yaml:"url" doc:"the API"`
	AccountSID string        `yaml:"account_sid" doc:"id of the account, AC..."`
	KeySID     string        `yaml:"key_sid" doc:"id of an API key, SK...; empty to log in as the account"`
	AuthToken  daemon.Secret `yaml:"auth_token" doc:"token of the account, or secret of the API key"`
	From       string        `yaml:"from" doc:"number that sends (+15551234567), or id of a messaging service, MG..."`
	To         string        `yaml:"to" doc:"number that receives, as +15557654321; one for each output"`
	web.Config `yaml:",inline"`
}

// Default is Twilio's own API.
func Default() *Config { return &Config{URL: "https://api.twilio.com"} }

var sidForm = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.CheckURL("url", c.URL), web.Required("auth_token", c.AuthToken.IsSet()), web.Required("from", c.From != ""), web.Required("to", c.To != ""), c.Config.Validate()}
	if !sidForm.MatchString(c.AccountSID) {
		errs = append(errs, fmt.Errorf("account_sid is %q, want letters and digits", c.AccountSID))
	}
	if c.KeySID != "" && !sidForm.MatchString(c.KeySID) {
		errs = append(errs, fmt.Errorf("key_sid is %q, want letters and digits", c.KeySID))
	}
	return errors.Join(errs...)
}

// Batch puts what comes together into one message: each costs.
func (*Config) Batch() (int, time.Duration) { return 10, 5 * time.Second }

const maxText = 600 // characters, about ten parts of a message in Unicode; Twilio takes 1600, and counts some twice

// Open reads the token.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	token, err := web.Secret("auth_token", c.AuthToken)
	if err != nil {
		return nil, err
	}
	r, err := env.Renderer(notify.DefaultTitle, notify.DefaultText, nil)
	if err != nil {
		return nil, err
	}
	client, err := c.New(token)
	if err != nil {
		return nil, err
	}
	user, from := c.AccountSID, "From"
	if c.KeySID != "" {
		user = c.KeySID
	}
	if strings.HasPrefix(c.From, "MG") {
		from = "MessagingServiceSid"
	}
	target := strings.TrimRight(c.URL, "/") + "/2010-04-01/Accounts/" + c.AccountSID + "/Messages.json"
	return &web.Poster{Client: client, Failed: failed, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		form := url.Values{"To": {c.To}, from: {c.From}, "Body": {notify.Cut(title+"\n"+text, maxText)}}
		return web.Request{URL: target, Type: "application/x-www-form-urlencoded", Body: []byte(form.Encode()), User: user, Password: token}, nil
	}}, nil
}

// setupErrors are codes that come with status 400 and are not the alert's fault: numbers, countries and the account.
func setupErrors() []int {
	return []int{21211, 21212, 21408, 21601, 21603, 21604, 21606, 21608, 21610, 21612, 21614, 21659, 21660, 21701, 21703, 21705}
}

// failed reads the code of an answer with a bad status.
func failed(answer []byte, err error) error {
	var a struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &a) == nil && slices.Contains(setupErrors(), a.Code) {
		return daemon.Hint(fmt.Errorf("the service answers %d: %s", a.Code, notify.Cut(notify.Clean(a.Message), 200)), "check from and to, and what the account may send")
	}
	return err
}
