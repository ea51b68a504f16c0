CREATE TABLE event_batches
(
    time        DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    node        LowCardinality(String),
    boot_id     LowCardinality(String),
    source      LowCardinality(String),
    first_seq   UInt64 CODEC(Delta, ZSTD),
    last_seq    UInt64 CODEC(Delta, ZSTD),
    events      UInt32,
    bytes       UInt32,
    batch       String CODEC(ZSTD(3)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_time time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toDate(time)
ORDER BY (node, boot_id, first_seq, last_seq)
SETTINGS ttl_only_drop_parts = 1;
