CREATE TABLE alerts_hour
(
    hour     DateTime('UTC'),
    rule_id  LowCardinality(String),
    rule     LowCardinality(String),
    priority Enum8('emergency' = 0, 'alert' = 1, 'critical' = 2, 'error' = 3, 'warning' = 4, 'notice' = 5, 'informational' = 6, 'debug' = 7),
    node     LowCardinality(String),
    k8s_ns   LowCardinality(String),
    ids      AggregateFunction(uniqExact, UUID)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, rule_id, rule, priority, node, k8s_ns)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW alerts_hour_fill TO alerts_hour AS
SELECT toStartOfHour(time) AS hour, rule_id, rule, priority, node, k8s_ns, uniqExactState(id) AS ids
FROM alerts_raw
GROUP BY hour, rule_id, rule, priority, node, k8s_ns;

INSERT INTO alerts_hour
SELECT toStartOfHour(time) AS hour, rule_id, rule, priority, node, k8s_ns, uniqExactState(id) AS ids
FROM alerts_raw
GROUP BY hour, rule_id, rule, priority, node, k8s_ns;

CREATE VIEW alerts_per_hour AS
SELECT hour, rule_id, rule, priority, node, k8s_ns, uniqExactMerge(ids) AS alerts
FROM alerts_hour
GROUP BY hour, rule_id, rule, priority, node, k8s_ns;

CREATE VIEW nodes AS
SELECT node, min(time) AS first_seen, max(time) AS last_seen, count() AS alerts, uniqExact(rule_id) AS rules, min(priority) AS worst, uniqExact(boot_id) AS boots
FROM alerts
GROUP BY node;

CREATE VIEW rules AS
SELECT rule_id, argMax(rule, time) AS rule, argMax(priority, time) AS priority, argMax(mitre, time) AS mitre, min(time) AS first_seen, max(time) AS last_seen, count() AS alerts,
    uniqExact(node) AS nodes, uniqExact(exe) AS programs
FROM alerts
GROUP BY rule_id;
