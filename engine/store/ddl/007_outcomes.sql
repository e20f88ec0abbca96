-- What followed each bar.

CREATE TABLE IF NOT EXISTS outcomes
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    timeframe LowCardinality(String) COMMENT 'Timeframe of the bar',
    open_time DateTime64(9, 'UTC') COMMENT 'Start of the bar' CODEC(DoubleDelta, ZSTD(1)),
    horizon LowCardinality(String) COMMENT 'How far forward, from the bar''s close',
    known_at DateTime64(9, 'UTC') COMMENT 'When it was known: never before the horizon has passed' CODEC(DoubleDelta, ZSTD(1)),
    status LowCardinality(String) COMMENT 'whole; gap: no bar at the horizon; delisted: ended within it',
    forward_return Nullable(Float64) COMMENT 'Simple return from close to close; of a delisted market to its last price' CODEC(ZSTD(1)),
    net_return_long Nullable(Float64) COMMENT 'Of who bought, costs taken off' CODEC(ZSTD(1)),
    net_return_short Nullable(Float64) COMMENT 'Of who sold, costs taken off' CODEC(ZSTD(1)),
    barrier LowCardinality(String) COMMENT 'Touched first: upper, lower, both (in one bar) or vertical; empty: not known',
    barrier_time Nullable(DateTime64(9, 'UTC')) COMMENT 'Close of the bar that touched it' CODEC(ZSTD(1)),
    volatility Nullable(Float64) COMMENT 'Of the log return over the horizon, as known at the bar''s close' CODEC(ZSTD(1)),
    version LowCardinality(String) COMMENT 'Of the definition, with the settings that decide the values',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(open_time)
ORDER BY (timeframe, exchange, instrument, open_time, horizon)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Forward returns and barriers of bars, once their horizon has passed. Read with FINAL';
