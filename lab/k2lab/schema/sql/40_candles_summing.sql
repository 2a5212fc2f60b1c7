-- KNOWN BAD, for the tests of the tool itself: K2's own design. A merge sums the three sums, but keeps open, high, low
-- and close of whichever part came first.
CREATE TABLE IF NOT EXISTS ${database}.ohlcv_${timeframe}
(
    exchange         LowCardinality(String),
    canonical_symbol String,
    window_start     DateTime('UTC'),
    open_time        DateTime64(6, 'UTC'),
    open_price       Decimal(38, 8),
    close_time       DateTime64(6, 'UTC'),
    close_price      Decimal(38, 8),
    high_price       Decimal(38, 8),
    low_price        Decimal(38, 8),
    volume           Decimal(38, 8),
    quote_volume     Decimal(38, 8),
    trade_count      UInt64,
    updated_at       DateTime64(6, 'UTC')
)
ENGINE = SummingMergeTree((volume, quote_volume, trade_count))
ORDER BY (exchange, canonical_symbol, window_start)
SETTINGS ${settings}
COMMENT '${comment}';

CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.ohlcv_${timeframe}_mv TO ${database}.ohlcv_${timeframe} AS
SELECT
    exchange,
    canonical_symbol,
    toStartOfInterval(timestamp, INTERVAL ${seconds} SECOND, 'UTC') AS window_start,
    min(timestamp) AS open_time,
    argMin(s.price, (timestamp, ifNull(source_sequence, 0), kafka_offset)) AS open_price,
    max(timestamp) AS close_time,
    argMax(s.price, (timestamp, ifNull(source_sequence, 0), kafka_offset)) AS close_price,
    max(s.price) AS high_price,
    min(s.price) AS low_price,
    sum(s.quantity) AS volume,
    sum(s.quote_volume) AS quote_volume,
    count() AS trade_count,
    now64(6, 'UTC') AS updated_at
FROM ${database}.silver_trades AS s
WHERE is_valid
GROUP BY exchange, canonical_symbol, window_start;
