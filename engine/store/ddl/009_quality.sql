-- What the quality gate measured.

CREATE TABLE IF NOT EXISTS quality_scores
(
    table_name LowCardinality(String) COMMENT 'candles or texts',
    source LowCardinality(String) COMMENT 'A market and timeframe (binance BTC-USDT 1h), or a text source',
    day DateTime64(9, 'UTC') COMMENT 'Begin of the day that was measured' CODEC(DoubleDelta, ZSTD(1)),
    measure LowCardinality(String) COMMENT 'Which measure; score is the mean of all, in [0, 1]',
    value Float64 COMMENT 'What was measured, in the measure''s unit: a share in [0, 1], or hours',
    threshold Nullable(Float64) COMMENT 'Where it passes; NULL for score, which passes where every measure does',
    passed Bool COMMENT 'Whether it passes',
    rows Int64 COMMENT 'Rows that it was measured over',
    run_id String COMMENT 'The run that measured',
    checked_at DateTime64(9, 'UTC') COMMENT 'When; the newest counts' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written: retention counts from here'
)
ENGINE = ReplacingMergeTree(checked_at)
PARTITION BY toYear(day)
ORDER BY (table_name, source, measure, day)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Quality of each source over time. Read with FINAL';
