CREATE TABLE changes_raw
(
    id          UUID,
    time        DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    cluster     LowCardinality(String),
    kind        LowCardinality(String),
    object_kind LowCardinality(String),
    namespace   LowCardinality(String),
    name        String CODEC(ZSTD),
    uid         String CODEC(ZSTD),
    what        String CODEC(ZSTD),
    old         String CODEC(ZSTD),
    new         String CODEC(ZSTD),
    actor       LowCardinality(String),
    touches     Array(String) CODEC(ZSTD),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(time)
ORDER BY (cluster, namespace, object_kind, name, id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE VIEW changes AS SELECT * FROM changes_raw FINAL;
