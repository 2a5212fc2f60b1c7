-- The exchanges' fields, typed. A number or time that is unreadable, or has more digits than the type holds, is NULL: a
-- malformed payload never refuses its block. Every value is a function of the record alone (no now() in a decision), so
-- that rows rebuilt after a crash equal the lost ones.
CREATE TABLE IF NOT EXISTS ${database}.bronze_trades
(
    exchange            LowCardinality(String),
    symbol              String COMMENT 'as the exchange spells it',
    trade_id            String COMMENT 'empty where the exchange has no trade ids (Kraken)',
    side                Enum8('unknown' = 0, 'buy' = 1, 'sell' = 2) COMMENT 'of the taker',
    price               Nullable(Decimal(38, 8)),
    quantity            Nullable(Decimal(38, 8)),
    exchange_timestamp  Nullable(DateTime64(6, 'UTC')),
    sequence_number     Nullable(UInt64),
    vendor_data         Map(String, String),
    topic               LowCardinality(String),
    kafka_partition     UInt32,
    kafka_offset        UInt64,
    broker_timestamp    DateTime64(3, 'UTC'),
    received_at         Nullable(DateTime64(6, 'UTC')),
    ingestion_timestamp DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY toDate(ingestion_timestamp)
ORDER BY (exchange, symbol, kafka_offset)
TTL toDateTime(ingestion_timestamp) + INTERVAL 7 DAY
SETTINGS ${settings}
COMMENT '${comment}';

-- One extraction per record, (symbol, trade id, price, quantity, time, side, sequence, extra) as strings; the branches
-- differ only in the exchanges' own names. More than 8 significant decimals cannot be held exactly and read as NULL.
-- 1e15 bounds both factors so that price * quantity cannot overflow Decimal(38, 8) after the cut to 8 decimals.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.bronze_trades_mv TO ${database}.bronze_trades AS
WITH
    splitByChar('.', topic)[-2] AS exchange_name,
    multiIf(
        exchange_name = 'binance', JSONExtract(payload,
            'Tuple(s String, t String, p String, q String, T String, m String, no_sequence String, no_extra String)'),
        exchange_name = 'kraken', JSONExtract(payload,
            'Tuple(pair String, no_id String, price String, volume String, timestamp String, side String, no_sequence String, order_type String)'),
        JSONExtract(payload,
            'Tuple(product_id String, trade_id String, price String, size String, time String, side String, sequence_num String, no_extra String)')
    ) AS f
SELECT
    exchange_name AS exchange,
    f.1 AS symbol,
    f.2 AS trade_id,
    CAST(multiIf(f.6 IN ('false', 'b', 'BUY', 'buy'), 'buy', f.6 IN ('true', 's', 'SELL', 'sell'), 'sell', 'unknown'),
         'Enum8(\'unknown\' = 0, \'buy\' = 1, \'sell\' = 2)') AS side,
    if(match(f.3, '^\\d{1,15}(\\.\\d{0,8}0*)?$$'), toDecimal128OrNull(f.3, 8), NULL) AS price,
    if(match(f.4, '^\\d{1,15}(\\.\\d{0,8}0*)?$$'), toDecimal128OrNull(f.4, 8), NULL) AS quantity,
    parseDateTime64BestEffortOrNull(f.5, 6, 'UTC') AS exchange_timestamp,
    toUInt64OrNull(if(exchange_name = 'binance', f.2, f.7)) AS sequence_number,
    if(f.8 = '', map(), map('order_type', f.8))::Map(String, String) AS vendor_data,
    topic,
    kafka_partition,
    kafka_offset,
    broker_timestamp,
    received_at
FROM ${database}.raw_trades;

CREATE VIEW IF NOT EXISTS ${database}.bronze_trades_binance AS SELECT * FROM ${database}.bronze_trades WHERE exchange = 'binance';

CREATE VIEW IF NOT EXISTS ${database}.bronze_trades_kraken AS SELECT * FROM ${database}.bronze_trades WHERE exchange = 'kraken';

CREATE VIEW IF NOT EXISTS ${database}.bronze_trades_coinbase AS SELECT * FROM ${database}.bronze_trades WHERE exchange = 'coinbase';
