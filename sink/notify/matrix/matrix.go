// Package matrix sends messages to a room of a Matrix homeserver.
package matrix

import (
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Homeserver string        `yaml:"homeserver" doc:"URL of the homeserver"`
	Token      daemon.Secret `yaml:"token" doc:"access token of the sender"`
	Room       string        `yaml:"room" doc:"id of the room, as !abc:example.org; the sender must be in it"`
	web.Config `yaml:",inline"`
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var room error
	if !strings.HasPrefix(c.Room, "!") {
		room = errors.New("room is no room id, which starts with an exclamation mark")
	}
	return errors.Join(web.CheckURL("homeserver", c.Homeserver), web.Required("token", c.Token.IsSet()), room, c.Config.Validate())
}

// Batch puts what comes together into one message.
func (*Config) Batch() (int, time.Duration) { return 10, time.Second }

// maxText is the length of the text, in characters: an event takes 64 KiB, and the text is in it twice.
const maxText = 6000

// Open reads the token.
func (c *Config) Open(env notify.Env) (notify.Notifier, error) {
	token, err := web.Secret("token", c.Token)
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
	base := strings.TrimRight(c.Homeserver, "/") + "/_matrix/client/v3/rooms/" + url.PathEscape(c.Room) + "/send/m.room.message/"
	return &web.Poster{Client: client, Build: func(batch []notify.Message) (web.Request, error) {
		title, text, err := r.Digest(batch, maxText)
		if err != nil {
			return web.Request{}, err
		}
		body, err := json.Marshal(map[string]any{
			"msgtype": "m.text", "body": title + "\n" + text, "format": "org.matrix.custom.html", "m.mentions": map[string]any{},
			"formatted_body": "<strong>" + html.EscapeString(title) + "</strong><br>" + strings.ReplaceAll(html.EscapeString(text), "\n", "<br>"),
		})
		// The transaction id makes a repetition of the request the same event.
		return web.Request{Method: http.MethodPut, URL: base + notify.BatchKey(batch), Body: body, Header: map[string]string{"Authorization": "Bearer " + token}}, err
	}}, nil
}
