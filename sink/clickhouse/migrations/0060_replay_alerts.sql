CREATE TABLE replay_alerts
(
    replay_id      LowCardinality(String),
    verdict        Enum8('same' = 0, 'new' = 1, 'vanished' = 2),
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
    inserted_at    DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY replay_id
ORDER BY (rule_id, node, time, id)
TTL toDateTime(inserted_at) + toIntervalDay(30);
