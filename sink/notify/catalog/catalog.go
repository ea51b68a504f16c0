// Package catalog names every type of output. It is the one place that knows them all.
package catalog

import (
	"maps"
	"slices"

	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/alertmanager"
	"github.com/gyre-sec/gyre/sink/notify/amqp"
	"github.com/gyre-sec/gyre/sink/notify/bark"
	"github.com/gyre-sec/gyre/sink/notify/datadog"
	"github.com/gyre-sec/gyre/sink/notify/dingtalk"
	"github.com/gyre-sec/gyre/sink/notify/discord"
	"github.com/gyre-sec/gyre/sink/notify/elasticsearch"
	"github.com/gyre-sec/gyre/sink/notify/email"
	"github.com/gyre-sec/gyre/sink/notify/falcosidekick"
	"github.com/gyre-sec/gyre/sink/notify/file"
	"github.com/gyre-sec/gyre/sink/notify/googlechat"
	"github.com/gyre-sec/gyre/sink/notify/gotify"
	"github.com/gyre-sec/gyre/sink/notify/grafanaoncall"
	"github.com/gyre-sec/gyre/sink/notify/ifttt"
	"github.com/gyre-sec/gyre/sink/notify/join"
	"github.com/gyre-sec/gyre/sink/notify/kafka"
	"github.com/gyre-sec/gyre/sink/notify/lark"
	"github.com/gyre-sec/gyre/sink/notify/loki"
	"github.com/gyre-sec/gyre/sink/notify/matrix"
	"github.com/gyre-sec/gyre/sink/notify/mqtt"
	"github.com/gyre-sec/gyre/sink/notify/mysql"
	"github.com/gyre-sec/gyre/sink/notify/nats"
	"github.com/gyre-sec/gyre/sink/notify/notifiarr"
	"github.com/gyre-sec/gyre/sink/notify/ntfy"
	"github.com/gyre-sec/gyre/sink/notify/opsgenie"
	"github.com/gyre-sec/gyre/sink/notify/otlp"
	"github.com/gyre-sec/gyre/sink/notify/pagerduty"
	"github.com/gyre-sec/gyre/sink/notify/policyreport"
	"github.com/gyre-sec/gyre/sink/notify/postgres"
	"github.com/gyre-sec/gyre/sink/notify/program"
	"github.com/gyre-sec/gyre/sink/notify/pushbullet"
	"github.com/gyre-sec/gyre/sink/notify/pushover"
	"github.com/gyre-sec/gyre/sink/notify/redis"
	"github.com/gyre-sec/gyre/sink/notify/s3"
	"github.com/gyre-sec/gyre/sink/notify/signal"
	"github.com/gyre-sec/gyre/sink/notify/slack"
	"github.com/gyre-sec/gyre/sink/notify/splunk"
	"github.com/gyre-sec/gyre/sink/notify/stdout"
	"github.com/gyre-sec/gyre/sink/notify/syslog"
	"github.com/gyre-sec/gyre/sink/notify/teams"
	"github.com/gyre-sec/gyre/sink/notify/telegram"
	"github.com/gyre-sec/gyre/sink/notify/twilio"
	"github.com/gyre-sec/gyre/sink/notify/webex"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
	"github.com/gyre-sec/gyre/sink/notify/wecom"
	"github.com/gyre-sec/gyre/sink/notify/zulip"
)

// New returns the settings of a type of output with their defaults, nil if there is no such type.
func New(kind string) notify.Settings {
	if f := types()[kind]; f != nil {
		return f()
	}
	return nil
}

// Kinds lists the types of outputs.
func Kinds() []string { return slices.Sorted(maps.Keys(types())) }

func types() map[string]func() notify.Settings {
	return map[string]func() notify.Settings{
		"alertmanager":     func() notify.Settings { return alertmanager.Default() },
		"amqp":             func() notify.Settings { return amqp.Default() },
		"bark":             func() notify.Settings { return bark.Default() },
		"dingtalk":         func() notify.Settings { return &dingtalk.Config{} },
		"ifttt":            func() notify.Settings { return ifttt.Default() },
		"join":             func() notify.Settings { return join.Default() },
		"notifiarr":        func() notify.Settings { return notifiarr.Default() },
		"twilio":           func() notify.Settings { return twilio.Default() },
		"lark":             func() notify.Settings { return &lark.Config{} },
		"pushbullet":       func() notify.Settings { return pushbullet.Default() },
		"signal":           func() notify.Settings { return &signal.Config{} },
		"wecom":            func() notify.Settings { return &wecom.Config{} },
		"datadog":          func() notify.Settings { return datadog.Logs() },
		"datadog_events":   func() notify.Settings { return datadog.Events() },
		"elasticsearch":    func() notify.Settings { return elasticsearch.Default() },
		"falcosidekick":    func() notify.Settings { return falcosidekick.Sidekick() },
		"falcosidekick_ui": func() notify.Settings { return falcosidekick.UI() },
		"grafana_oncall":   func() notify.Settings { return grafanaoncall.Default() },
		"loki":             func() notify.Settings { return loki.Default() },
		"opsgenie":         func() notify.Settings { return opsgenie.Default() },
		"otlp":             func() notify.Settings { return &otlp.Config{} },
		"pagerduty":        func() notify.Settings { return pagerduty.Default() },
		"splunk":           func() notify.Settings { return splunk.Default() },
		"discord":          func() notify.Settings { return &discord.Config{} },
		"googlechat":       func() notify.Settings { return &googlechat.Config{} },
		"matrix":           func() notify.Settings { return &matrix.Config{} },
		"mattermost":       func() notify.Settings { return slack.Markdown() },
		"rocketchat":       func() notify.Settings { return slack.Markdown() },
		"slack":            func() notify.Settings { return slack.Slack() },
		"email":            func() notify.Settings { return email.Default() },
		"file":             func() notify.Settings { return file.Default() },
		"kafka":            func() notify.Settings { return kafka.Default() },
		"mqtt":             func() notify.Settings { return mqtt.Default() },
		"mysql":            func() notify.Settings { return mysql.Default() },
		"nats":             func() notify.Settings { return nats.Default() },
		"program":          func() notify.Settings { return program.Default() },
		"redis":            func() notify.Settings { return redis.Default() },
		"syslog":           func() notify.Settings { return syslog.Default() },
		"gotify":           func() notify.Settings { return &gotify.Config{} },
		"ntfy":             func() notify.Settings { return ntfy.Default() },
		"policyreport":     func() notify.Settings { return policyreport.Default() },
		"postgres":         func() notify.Settings { return postgres.Default() },
		"pushover":         func() notify.Settings { return pushover.Default() },
		"s3":               func() notify.Settings { return s3.Default() },
		"webex":            func() notify.Settings { return webex.Default() },
		"zulip":            func() notify.Settings { return zulip.Default() },
		"stdout":           func() notify.Settings { return &stdout.Config{} },
		"teams":            func() notify.Settings { return &teams.Config{} },
		"telegram":         func() notify.Settings { return telegram.Default() },
		"webhook":          func() notify.Settings { return webhook.Default() },
	}
}
