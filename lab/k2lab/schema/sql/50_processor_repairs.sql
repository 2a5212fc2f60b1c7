-- The processor's journal: candle windows it is about to rebuild. Written before the first deletion, so that a repair cut
-- short is finished by the next start; kept as the record of what was ever repaired.
CREATE TABLE IF NOT EXISTS ${database}.processor_repairs
(
    batch            String COMMENT 'topic-partition ranges of the batch',
    timeframe_s      UInt32,
    exchange         LowCardinality(String),
    canonical_symbol String,
    window_start     DateTime('UTC'),
    noted_at         DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (batch, timeframe_s, exchange, canonical_symbol, window_start)
TTL toDateTime(noted_at) + INTERVAL 30 DAY
SETTINGS ${settings}
COMMENT '${comment}';
