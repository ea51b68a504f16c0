CREATE TABLE alerts_raw
(
    id             UUID,
    time           DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    rule_id        LowCardinality(String),
    rule           LowCardinality(String),
    priority       Enum8('emergency' = 0, 'alert' = 1, 'critical' = 2, 'error' = 3, 'warning' = 4, 'notice' = 5, 'informational' = 6, 'debug' = 7),
    source         LowCardinality(String),
    node           LowCardinality(String),
    output         String CODEC(ZSTD),
    tags           Array(LowCardinality(String)),
    mitre          Array(LowCardinality(String)),
    ruleset        LowCardinality(String),
    pid            UInt32,
    process        LowCardinality(String),
    exe            String CODEC(ZSTD),
    cmdline        String CODEC(ZSTD),
    cwd            String CODEC(ZSTD),
    exec_id        String CODEC(ZSTD),
    uid            UInt32,
    user           LowCardinality(String),
    login_uid      UInt32,
    login_user     LowCardinality(String),
    container_id   String CODEC(ZSTD),
    container_name LowCardinality(String),
    image          LowCardinality(String),
    k8s_ns         LowCardinality(String),
    k8s_pod        String CODEC(ZSTD),
    event_type     LowCardinality(String),
    event_seq      UInt64,
    boot_id        LowCardinality(String),
    fields         Map(LowCardinality(String), String) CODEC(ZSTD),
    lineage        Array(Tuple(exec_id String, pid UInt32, name String, exe String, cmdline String, uid UInt32, user String, start DateTime64(9, 'UTC'))) CODEC(ZSTD),
    inserted_at    DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX output_words output TYPE tokenbf_v1(8192, 3, 0) GRANULARITY 4,
    INDEX by_id id TYPE bloom_filter GRANULARITY 4
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toDate(time)
ORDER BY (rule_id, node, time, id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE VIEW alerts AS SELECT * FROM alerts_raw FINAL;

CREATE TABLE alerts_minute
(
    minute   DateTime('UTC'),
    rule_id  LowCardinality(String),
    rule     LowCardinality(String),
    priority Enum8('emergency' = 0, 'alert' = 1, 'critical' = 2, 'error' = 3, 'warning' = 4, 'notice' = 5, 'informational' = 6, 'debug' = 7),
    node     LowCardinality(String),
    k8s_ns   LowCardinality(String),
    ids      AggregateFunction(uniqExact, UUID)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, rule_id, rule, priority, node, k8s_ns)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW alerts_minute_fill TO alerts_minute AS
SELECT toStartOfMinute(time) AS minute, rule_id, rule, priority, node, k8s_ns, uniqExactState(id) AS ids
FROM alerts_raw
GROUP BY minute, rule_id, rule, priority, node, k8s_ns;

CREATE VIEW alerts_per_minute AS
SELECT minute, rule_id, rule, priority, node, k8s_ns, uniqExactMerge(ids) AS alerts
FROM alerts_minute
GROUP BY minute, rule_id, rule, priority, node, k8s_ns;
