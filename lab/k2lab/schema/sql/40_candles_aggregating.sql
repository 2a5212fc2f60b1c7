-- Open and close are the least and greatest (exchange time, sequence, offset, price): ties are broken the same way in
-- whatever order batches arrive and parts merge. Read with FINAL or GROUP BY; K2's column names are aliases.
CREATE TABLE IF NOT EXISTS ${database}.ohlcv_${timeframe}
(
    exchange         LowCardinality(String),
    canonical_symbol String,
    window_start     DateTime('UTC'),
    first_trade      SimpleAggregateFunction(min, ${trade_type}),
    last_trade       SimpleAggregateFunction(max, ${trade_type}),
    open_time        DateTime64(6, 'UTC') ALIAS first_trade.1,
    open_price       Decimal(38, 8) ALIAS first_trade.4,
    close_time       DateTime64(6, 'UTC') ALIAS last_trade.1,
    close_price      Decimal(38, 8) ALIAS last_trade.4,
    high_price       SimpleAggregateFunction(max, Decimal(38, 8)),
    low_price        SimpleAggregateFunction(min, Decimal(38, 8)),
    volume           SimpleAggregateFunction(sum, Decimal(38, 8)),
    quote_volume     SimpleAggregateFunction(sum, Decimal(38, 8)),
    trade_count      SimpleAggregateFunction(sum, UInt64),
    updated_at       SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY (exchange, canonical_symbol, window_start)
SETTINGS ${settings}
COMMENT '${comment}';

CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.ohlcv_${timeframe}_mv TO ${database}.ohlcv_${timeframe} AS
SELECT
    exchange,
    canonical_symbol,
    toStartOfInterval(timestamp, INTERVAL ${seconds} SECOND, 'UTC') AS window_start,
    min((timestamp, ifNull(source_sequence, 0), kafka_offset, price)) AS first_trade,
    max((timestamp, ifNull(source_sequence, 0), kafka_offset, price)) AS last_trade,
    max(s.price) AS high_price,
    min(s.price) AS low_price,
    sum(s.quantity) AS volume,
    sum(s.quote_volume) AS quote_volume,
    count() AS trade_count,
    now64(6, 'UTC') AS updated_at
FROM ${database}.silver_trades AS s
WHERE is_valid
GROUP BY exchange, canonical_symbol, window_start;
