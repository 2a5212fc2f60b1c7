-- Every trade in one shape, valid or not: an invalid one is flagged with the reasons, never dropped.
CREATE TABLE IF NOT EXISTS ${database}.silver_trades
(
    message_id          String ALIAS concat(topic, '/', toString(kafka_partition), '/', toString(kafka_offset)),
    trade_id            String,
    exchange            LowCardinality(String),
    symbol              String,
    canonical_symbol    String COMMENT 'BASE/QUOTE in the exchange''s own asset names',
    currency            LowCardinality(String) COMMENT 'the quote asset',
    price               Decimal(38, 8),
    quantity            Decimal(38, 8),
    quote_volume        Decimal(38, 8) COMMENT 'price * quantity, cut to 8 decimals',
    side                Enum8('unknown' = 0, 'buy' = 1, 'sell' = 2),
    timestamp           DateTime64(6, 'UTC') COMMENT 'the exchange''s time',
    received_at         Nullable(DateTime64(6, 'UTC')) COMMENT 'feed handler',
    broker_timestamp    DateTime64(3, 'UTC'),
    ingestion_timestamp DateTime64(6, 'UTC') COMMENT 'bronze''s',
    processed_at        DateTime64(6, 'UTC') DEFAULT now64(6),
    source_sequence     Nullable(UInt64),
    vendor_data         Map(String, String),
    is_valid            Bool,
    validation_errors   Array(LowCardinality(String)),
    topic               LowCardinality(String),
    kafka_partition     UInt32,
    kafka_offset        UInt64
)
ENGINE = MergeTree
PARTITION BY toDate(processed_at)
ORDER BY (exchange, canonical_symbol, timestamp, kafka_offset)
TTL toDateTime(processed_at) + INTERVAL 30 DAY
SETTINGS ${settings}
COMMENT '${comment}';

-- "In the future" and "too old" are judged against the broker's time of the record: the same answer whenever it is asked.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.silver_trades_mv TO ${database}.silver_trades AS
WITH
    if(exchange = 'binance', extractGroups(symbol, '^(.+?)(USDT|USDC|FDUSD|BUSD|TUSD|BTC|ETH|BNB|USD|EUR|GBP|TRY|BRL)$$'),
       splitByRegexp('[/-]+', symbol)) AS assets,
    length(assets) = 2 AS has_assets
SELECT
    trade_id,
    exchange,
    symbol,
    if(has_assets, concat(assets[1], '/', assets[2]), symbol) AS canonical_symbol,
    if(has_assets, assets[2], '') AS currency,
    ifNull(b.price, 0) AS price,
    ifNull(b.quantity, 0) AS quantity,
    CAST(toDecimal256(ifNull(b.price, 0), 8) * toDecimal256(ifNull(b.quantity, 0), 8), 'Decimal(38, 8)') AS quote_volume,
    side,
    ifNull(b.exchange_timestamp, toDateTime64(0, 6, 'UTC')) AS timestamp,
    received_at,
    broker_timestamp,
    ingestion_timestamp,
    sequence_number AS source_sequence,
    vendor_data,
    empty(validation_errors) AS is_valid,
    arrayFilter(reason -> reason != '', [
        if(symbol = '', 'symbol_missing', ''),
        multiIf(b.price IS NULL, 'price_unreadable', b.price <= 0, 'price_not_positive', ''),
        multiIf(b.quantity IS NULL, 'quantity_unreadable', b.quantity <= 0, 'quantity_not_positive', ''),
        if(side = 'unknown', 'side_unknown', ''),
        multiIf(b.exchange_timestamp IS NULL, 'time_unreadable',
                b.exchange_timestamp > b.broker_timestamp + INTERVAL 60 SECOND, 'time_in_future',
                b.exchange_timestamp < b.broker_timestamp - INTERVAL 7 DAY, 'time_too_old', '')
    ]) AS validation_errors,
    topic,
    kafka_partition,
    kafka_offset
FROM ${database}.bronze_trades AS b;
