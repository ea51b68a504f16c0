package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gyre-sec/gyre/schemas/subject"
)

// The streams.
const (
	StreamEvents   = "EVENTS"
	StreamEnriched = "ENRICHED"
	StreamSignals  = "SIGNALS"
	StreamAlerts   = "ALERTS"
	StreamDead     = "DEAD"
	StreamActions  = "ACTIONS"
	StreamResults  = "RESULTS"
	StreamChanges  = "CHANGES"
	StreamStored   = "STORED"
)

// The key-value buckets.
const (
	BucketFacts  = "facts"
	BucketRules  = "rules"
	BucketConfig = "config"
	// BucketSilences holds what operators have silenced, by id.
	BucketSilences = "silences"
	// BucketContext holds tables of labels, by the name of the lookup that uses them.
	BucketContext = "context"
	// BucketIntel holds lists of threat intelligence; see schemas/intelv1.
	BucketIntel = "intel"
	// BucketReplays holds replays and the marks that they start at.
	BucketReplays = "replays"
	// BucketCorrelate holds the state of correlation: who takes part, and snapshots of the partitions.
	BucketCorrelate = "correlate"
)

type stream struct {
	name, prefix, key, doc string
	limits                 Limits
}

// topology is every stream, as data.
func (c Config) topology() []stream {
	s := c.Streams
	return []stream{
		{StreamEvents, subject.PrefixEvents, "events", "raw batches of events", s.Events},
		{StreamEnriched, subject.PrefixEnriched, "enriched", "enriched batches of events", s.Enriched},
		{StreamSignals, subject.PrefixSignals, "signals", "matches of correlation rules", s.Signals},
		{StreamAlerts, subject.PrefixAlerts, "alerts", "alerts", s.Alerts},
		{StreamDead, subject.PrefixDead, "dead", "what could not be processed, with the reason in headers", s.Dead},
		{StreamActions, subject.PrefixActions, "actions", "response requests", s.Actions},
		{StreamResults, subject.PrefixResults, "results", "what became of response requests", s.Results},
		{StreamChanges, subject.PrefixChanges, "changes", "changes in clusters", s.Changes},
		{StreamStored, subject.PrefixStored, "stored", "events that wait to be stored", s.Stored},
	}
}

// buckets is every key-value bucket: its name, what it holds and how many revisions of a key it keeps.
func buckets() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		{Bucket: BucketFacts, Description: "what nodes know: containers, users, kernel, labels", History: 1},
		{Bucket: BucketRules, Description: "rule files, versioned by digest", History: 64},
		{Bucket: BucketConfig, Description: "capture policy and so on", History: 64},
		{Bucket: BucketSilences, Description: "silences of notifications, by id", History: 8},
		{Bucket: BucketContext, Description: "tables of labels, by lookup", History: 16},
		{Bucket: BucketIntel, Description: "lists of threat intelligence, in chunks", History: 1},
		{Bucket: BucketReplays, Description: "replays, where they stand, and named marks", History: 1},
		{Bucket: BucketCorrelate, Description: "state of correlation: members, and snapshots of partitions", History: 1},
	}
}

// StreamNames lists the streams in the order of the flow.
func StreamNames() []string {
	return []string{StreamEvents, StreamEnriched, StreamSignals, StreamAlerts, StreamDead, StreamActions, StreamResults, StreamChanges, StreamStored}
}

// Ensure makes every stream and bucket that is not there, and brings limits of
// existing ones up to the configuration. It is idempotent and safe to run in many
// programs at once. It never drops data: a limit below what a stream holds, or
// another storage, is refused with [ErrTopology] naming the stream and setting.
func (b *Bus) Ensure(ctx context.Context) error {
	for _, s := range b.cfg.topology() {
		if err := b.ensureStream(ctx, s); err != nil {
			return err
		}
	}
	for _, kv := range buckets() {
		kv.Replicas, kv.Storage = b.cfg.Replicas, jetstream.FileStorage
		_, err := b.js.KeyValue(ctx, kv.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			_, err = b.js.CreateOrUpdateKeyValue(ctx, kv)
		}
		if err != nil {
			return fmt.Errorf("ensure bucket %s: %w", kv.Bucket, err)
		}
	}
	return nil
}

func (b *Bus) ensureStream(ctx context.Context, s stream) error {
	want := jetstream.StreamConfig{
		Name: s.name, Description: s.doc, Subjects: []string{subject.All(s.prefix)},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: s.limits.MaxAge, MaxBytes: int64(s.limits.MaxBytes), Replicas: b.cfg.Replicas,
		Duplicates: min(b.cfg.Duplicates, s.limits.MaxAge),
	}
	have, err := b.js.Stream(ctx, s.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = b.js.CreateStream(ctx, want); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("create stream %s: %w", s.name, err)
		}
		have, err = b.js.Stream(ctx, s.name) // another program was first
	}
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", s.name, err)
	}
	info := have.CachedInfo()
	next := info.Config
	if err := refuse(s, want, info); err != nil {
		return err
	}
	next.MaxAge, next.MaxBytes, next.Replicas, next.Duplicates = want.MaxAge, want.MaxBytes, want.Replicas, want.Duplicates
	if next.MaxAge == info.Config.MaxAge && next.MaxBytes == info.Config.MaxBytes && next.Replicas == info.Config.Replicas && next.Duplicates == info.Config.Duplicates {
		return nil
	}
	if _, err := b.js.UpdateStream(ctx, next); err != nil {
		return fmt.Errorf("update stream %s: %w", s.name, err)
	}
	b.log.Info("stream limits changed", "stream", s.name, "max_age", want.MaxAge, "max_bytes", want.MaxBytes)
	return nil
}

// refuse returns an error if going from what a stream is to want would drop data.
func refuse(s stream, want jetstream.StreamConfig, info *jetstream.StreamInfo) error {
	have := info.Config
	no := func(remedy, format string, args ...any) error {
		return hinted{fmt.Errorf("%w: stream %s: %s", ErrTopology, s.name, fmt.Sprintf(format, args...)), remedy}
	}
	if have.Storage != want.Storage {
		return no("move the data by hand, or use another NATS account", "it is stored in %s, want %s", have.Storage, want.Storage)
	}
	if !slices.Equal(have.Subjects, want.Subjects) {
		return no("another program made this stream: use another NATS account", "it holds subjects %v, want %v", have.Subjects, want.Subjects)
	}
	if have.Retention != want.Retention {
		return no("another program made this stream: use another NATS account", "its retention is %s, want %s", have.Retention, want.Retention)
	}
	if want.MaxBytes < int64(info.State.Bytes) {
		return no(fmt.Sprintf("raise nats.streams.%s.max_bytes, or purge the stream first", s.key), "it holds %d bytes, max_bytes would be %d", info.State.Bytes, want.MaxBytes)
	}
	if oldest := time.Since(info.State.FirstTime); info.State.Msgs > 0 && want.MaxAge < have.MaxAge && oldest > want.MaxAge {
		return no(fmt.Sprintf("raise nats.streams.%s.max_age, or purge the stream first", s.key), "its oldest message is %s old, max_age would be %s", oldest.Round(time.Second), want.MaxAge)
	}
	return nil
}
