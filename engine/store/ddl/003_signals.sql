-- Features and signals. The feature columns themselves come from the catalogue, at migration.

CREATE TABLE IF NOT EXISTS features
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    timeframe LowCardinality(String) COMMENT 'Timeframe of the bar',
    open_time DateTime64(9, 'UTC') COMMENT 'Start of the bar' CODEC(DoubleDelta, ZSTD(1)),
    close_time DateTime64(9, 'UTC') COMMENT 'End of the bar' CODEC(DoubleDelta, ZSTD(1)),
    available_at DateTime64(9, 'UTC') COMMENT 'When it could first be known' CODEC(DoubleDelta, ZSTD(1)),
    close Float64 COMMENT 'Close of the bar' CODEC(Gorilla, ZSTD(1)),
    version LowCardinality(String) COMMENT 'Version of the catalogue',
    last_receive_time DateTime64(9, 'UTC') COMMENT 'When its newest event reached us' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(open_time)
ORDER BY (timeframe, exchange, instrument, open_time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Features of closed bars, a column each; NULL where a value is missing. Read with FINAL';

CREATE TABLE IF NOT EXISTS signals
(
    signal_id String COMMENT 'Unique',
    exchange LowCardinality(String) COMMENT 'Venue of the reference price',
    instrument LowCardinality(String) COMMENT 'Instrument',
    timeframe LowCardinality(String) COMMENT 'Timeframe',
    as_of DateTime64(9, 'UTC') COMMENT 'When it was made' CODEC(DoubleDelta, ZSTD(1)),
    rank Int64 COMMENT 'From 1, the highest score',
    score Float64 COMMENT 'In [-1, 1]: the sum of the contributions',
    percentile Float64 COMMENT 'Share of the universe with a lower or equal score, in (0, 100]',
    direction LowCardinality(String) COMMENT 'bullish, neutral or bearish',
    confidence Float64 COMMENT 'In [0, 1]',
    confidence_agreement Float64 COMMENT 'Part of the confidence, in [0, 1]',
    confidence_freshness Float64 COMMENT 'Part of the confidence, in [0, 1]',
    confidence_coverage Float64 COMMENT 'Part of the confidence, in [0, 1]',
    confidence_liquidity Float64 COMMENT 'Part of the confidence, in [0, 1]',
    confidence_stability Float64 COMMENT 'Part of the confidence, in [0, 1]',
    horizon LowCardinality(String) COMMENT 'It speaks of the return over this long',
    expires_at DateTime64(9, 'UTC') COMMENT 'When it is over' CODEC(DoubleDelta, ZSTD(1)),
    reference_price Float64 COMMENT 'Price it was made at, quote currency',
    contributions_factor Array(LowCardinality(String)) COMMENT 'Factors; the arrays contributions_* run in parallel',
    contributions_value Array(Nullable(Float64)) COMMENT 'Raw values; NULL where missing' CODEC(ZSTD(1)),
    contributions_z Array(Nullable(Float64)) COMMENT 'Robust z-scores over the universe' CODEC(ZSTD(1)),
    contributions_weight Array(Float64) COMMENT 'Weights used' CODEC(ZSTD(1)),
    contributions_contribution Array(Float64) COMMENT 'Parts of the score; they sum to it' CODEC(ZSTD(1)),
    rationale Array(String) COMMENT 'Why, in plain words' CODEC(ZSTD(3)),
    coverage_factors_present Int64 COMMENT 'Factors with a value',
    coverage_factors_total Int64 COMMENT 'Factors of the model',
    coverage_sentiment Bool COMMENT 'Whether there was any text about it',
    coverage_redistributed_weight Float64 COMMENT 'Weight that missing factors gave to others, in [0, 1]',
    coverage_feed_complete Bool COMMENT 'No open gap and no staleness in its feed',
    coverage_missing Array(LowCardinality(String)) COMMENT 'Factors without a value',
    data_age_ms Int64 COMMENT 'Age of the newest event behind it, ms',
    bar_open_time DateTime64(9, 'UTC') COMMENT 'Start of the newest bar behind it' CODEC(DoubleDelta, ZSTD(1)),
    is_closed_bar Bool COMMENT 'Whether every bar behind it was closed',
    model LowCardinality(String) COMMENT 'Name and version of the model',
    feature_version LowCardinality(String) COMMENT 'Version of the feature catalogue',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYYYYMM(as_of)
ORDER BY (timeframe, instrument, as_of, signal_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Ranked, explained signals. Read with FINAL';
