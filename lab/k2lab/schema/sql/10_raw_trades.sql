-- One row per record of the raw topics, payload exactly as it came: the evidence every later tier can be rebuilt from.
CREATE TABLE IF NOT EXISTS ${database}.raw_trades
(
    topic            LowCardinality(String),
    kafka_partition  UInt32,
    kafka_offset     UInt64,
    payload          String,
    broker_timestamp DateTime64(3, 'UTC'),
    received_at      Nullable(DateTime64(6, 'UTC')) COMMENT 'when the feed handler read the frame; NULL: header absent or unreadable',
    ingested_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY toDate(ingested_at)
ORDER BY (topic, kafka_partition, kafka_offset)
TTL toDateTime(ingested_at) + INTERVAL 7 DAY
SETTINGS ${settings}
COMMENT '${comment}';
