CREATE TABLE events_raw
(
    time           DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    node           LowCardinality(String),
    boot_id        LowCardinality(String),
    seq            UInt64 CODEC(Delta, ZSTD),
    event_type     LowCardinality(String),
    source         LowCardinality(String),
    pid            UInt32,
    tid            UInt32,
    process        LowCardinality(String),
    exe            String CODEC(ZSTD),
    cmdline        String CODEC(ZSTD),
    exec_id        String CODEC(ZSTD),
    ppid           UInt32,
    parent         LowCardinality(String),
    parent_exec_id String CODEC(ZSTD),
    uid            UInt32,
    user           LowCardinality(String),
    container_id   String CODEC(ZSTD),
    container_name LowCardinality(String),
    image          LowCardinality(String),
    k8s_ns         LowCardinality(String),
    k8s_pod        String CODEC(ZSTD),
    path           String CODEC(ZSTD),
    proto          LowCardinality(String),
    local_ip       String CODEC(ZSTD),
    local_port     UInt16,
    remote_ip      String CODEC(ZSTD),
    remote_port    UInt16,
    result         Int64,
    errno          LowCardinality(String),
    fields         Map(LowCardinality(String), String) CODEC(ZSTD),
    inserted_at    DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_time time TYPE minmax GRANULARITY 1,
    INDEX by_exec exec_id TYPE bloom_filter GRANULARITY 4,
    INDEX by_remote remote_ip TYPE bloom_filter GRANULARITY 4,
    INDEX path_words path TYPE tokenbf_v1(8192, 3, 0) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toDate(time)
ORDER BY (node, boot_id, seq)
SETTINGS ttl_only_drop_parts = 1;

CREATE VIEW events AS SELECT * FROM events_raw FINAL;
