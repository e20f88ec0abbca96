-- Market data: trades, best bid and ask, candles, gaps, frames that could not be used.

CREATE TABLE IF NOT EXISTS trades
(
    exchange LowCardinality(String) COMMENT 'Venue, by our name for it',
    instrument LowCardinality(String) COMMENT 'BASE-QUOTE or BASE-QUOTE-PERP',
    trade_id String COMMENT 'The venue''s own id; unique with exchange and instrument' CODEC(ZSTD(1)),
    sequence Int64 COMMENT 'The id as a number where the venue counts its trades, else 0' CODEC(Delta, ZSTD(1)),
    price Float64 COMMENT 'Quote currency' CODEC(Gorilla, ZSTD(1)),
    amount Float64 COMMENT 'Base currency' CODEC(ZSTD(1)),
    side LowCardinality(String) COMMENT 'Aggressor: buy or sell',
    exchange_time DateTime64(9, 'UTC') COMMENT 'The venue''s clock: orders trades' CODEC(DoubleDelta, ZSTD(1)),
    receive_time DateTime64(9, 'UTC') COMMENT 'Our clock: measures freshness' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(exchange_time)
ORDER BY (exchange, instrument, exchange_time, sequence, trade_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every trade, once';

CREATE TABLE IF NOT EXISTS book_tops
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    bid_price Float64 COMMENT 'Best bid, quote currency' CODEC(Gorilla, ZSTD(1)),
    bid_amount Float64 COMMENT 'Amount at the best bid, base currency' CODEC(ZSTD(1)),
    ask_price Float64 COMMENT 'Best ask, quote currency' CODEC(Gorilla, ZSTD(1)),
    ask_amount Float64 COMMENT 'Amount at the best ask, base currency' CODEC(ZSTD(1)),
    sequence Int64 COMMENT 'The venue''s update number, 0 where it gives none' CODEC(Delta, ZSTD(1)),
    exchange_time Nullable(DateTime64(9, 'UTC')) COMMENT 'The venue''s clock; NULL where it sends none' CODEC(ZSTD(1)),
    receive_time DateTime64(9, 'UTC') COMMENT 'Our clock' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1)),
    INDEX sequence_range sequence TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(receive_time)
ORDER BY (exchange, instrument, receive_time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Best bid and ask over time';

CREATE TABLE IF NOT EXISTS candles
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    timeframe LowCardinality(String) COMMENT '1s, 1m, 5m, 15m, 1h, 4h or 1d',
    open_time DateTime64(9, 'UTC') COMMENT 'Start, included' CODEC(DoubleDelta, ZSTD(1)),
    close_time DateTime64(9, 'UTC') COMMENT 'End, excluded' CODEC(DoubleDelta, ZSTD(1)),
    open Float64 COMMENT 'First price' CODEC(Gorilla, ZSTD(1)),
    high Float64 COMMENT 'Highest price' CODEC(Gorilla, ZSTD(1)),
    low Float64 COMMENT 'Lowest price' CODEC(Gorilla, ZSTD(1)),
    close Float64 COMMENT 'Last price' CODEC(Gorilla, ZSTD(1)),
    volume Float64 COMMENT 'Base currency' CODEC(ZSTD(1)),
    quote_volume Nullable(Float64) COMMENT 'Quote currency' CODEC(ZSTD(1)),
    trade_count Nullable(Int64) COMMENT 'Number of trades' CODEC(ZSTD(1)),
    vwap Nullable(Float64) COMMENT 'quote_volume / volume' CODEC(ZSTD(1)),
    twap Nullable(Float64) COMMENT 'Mean last price over time, from the first trade on' CODEC(ZSTD(1)),
    taker_buy_volume Nullable(Float64) COMMENT 'Base currency bought by takers' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'trades (built here) or rest (the venue''s)',
    is_closed Bool COMMENT 'False while trades of the interval may still come',
    version UInt64 COMMENT 'UTC nanoseconds of its computation; the largest counts' CODEC(ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(open_time)
ORDER BY (exchange, instrument, timeframe, open_time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Prices and volumes of an interval; intervals without trades have no row. Read with FINAL';

CREATE TABLE IF NOT EXISTS feed_gaps
(
    gap_id String COMMENT 'The same for all versions of a gap',
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    channel LowCardinality(String) COMMENT 'trades or book_top',
    cause LowCardinality(String) COMMENT 'sequence, disconnect, stale or restart',
    from_sequence Nullable(Int64) COMMENT 'First missing id',
    to_sequence Nullable(Int64) COMMENT 'Last missing id',
    from_time DateTime64(9, 'UTC') COMMENT 'Last time known complete before it',
    to_time Nullable(DateTime64(9, 'UTC')) COMMENT 'First time known complete after it; NULL while it lasts',
    opened_at DateTime64(9, 'UTC') COMMENT 'When we noticed',
    repaired_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When it was repaired; NULL while it is open',
    how LowCardinality(String) COMMENT 'How it was repaired',
    version UInt8 COMMENT '0 open, 1 ended, 2 repaired; the largest counts',
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(opened_at)
ORDER BY (exchange, instrument, channel, opened_at, gap_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Stretches of a feed that we do not hold. Read with FINAL';

CREATE TABLE IF NOT EXISTS dead_letters
(
    exchange LowCardinality(String) COMMENT 'Venue',
    kind LowCardinality(String) COMMENT 'Kind of fault',
    reason String COMMENT 'What was wrong' CODEC(ZSTD(3)),
    frame String COMMENT 'The frame''s bytes, cut at 64 KiB' CODEC(ZSTD(3)),
    frame_bytes Int64 COMMENT 'Its whole length, bytes',
    receive_time DateTime64(9, 'UTC') COMMENT 'Our clock' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(receive_time)
ORDER BY (exchange, kind, receive_time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Frames that could not be used';
