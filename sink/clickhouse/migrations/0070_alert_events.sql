CREATE TABLE alert_events_raw
(
    alert_id    UUID,
    alert_time  DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    idx         UInt16,
    rule_id     LowCardinality(String),
    step        LowCardinality(String),
    time        DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    node        LowCardinality(String),
    boot_id     LowCardinality(String),
    event_seq   UInt64,
    event_type  LowCardinality(String),
    exec_id     String CODEC(ZSTD),
    pid         UInt32,
    process     LowCardinality(String),
    cmdline     String CODEC(ZSTD),
    detail      String CODEC(ZSTD),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_node (node, event_seq) TYPE bloom_filter GRANULARITY 4
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toDate(alert_time)
ORDER BY (alert_id, idx)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE VIEW alert_events AS SELECT * FROM alert_events_raw FINAL;
