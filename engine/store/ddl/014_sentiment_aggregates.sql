-- What aggregates tell beside the score, what happened to them, and what texts are about.

ALTER TABLE sentiment_aggregates ADD COLUMN IF NOT EXISTS volume Nullable(Int64) COMMENT 'Texts about it, read or not; NULL in rows of versions that did not count them' AFTER model;

ALTER TABLE sentiment_aggregates ADD COLUMN IF NOT EXISTS coverage Nullable(Float64) COMMENT 'Share of them that the model could read, in [0, 1]; NULL where there was none' AFTER volume;

ALTER TABLE sentiment_aggregates ADD COLUMN IF NOT EXISTS surprise Nullable(Float64) COMMENT 'Standard deviations of log volume above the mean of the windows before; NULL where too few were watched' AFTER coverage;

ALTER TABLE sentiment_aggregates ADD COLUMN IF NOT EXISTS momentum Nullable(Float64) COMMENT 'Score less the score one window earlier, in [-2, 2]; NULL where either is' AFTER surprise;

CREATE TABLE IF NOT EXISTS sentiment_events
(
    event_id String COMMENT 'Of kind, instrument, window, moment and model',
    kind LowCardinality(String) COMMENT 'sentiment_flip or mention_spike',
    instrument LowCardinality(String) COMMENT 'Instrument',
    window LowCardinality(String) COMMENT '1h, 4h, 1d or 1w',
    as_of DateTime64(9, 'UTC') COMMENT 'Of the aggregate that showed it' CODEC(DoubleDelta, ZSTD(1)),
    direction LowCardinality(Nullable(String)) COMMENT 'Where a flip turned to: bearish or bullish; NULL at a spike',
    score Nullable(Float64) COMMENT 'The aggregate''s score',
    surprise Nullable(Float64) COMMENT 'The aggregate''s surprise',
    volume Nullable(Int64) COMMENT 'Texts about it in the window',
    weight Float64 COMMENT 'Sum of the weights of those that were read',
    model LowCardinality(String) COMMENT 'Name and version of the model',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYear(as_of)
ORDER BY (instrument, window, kind, model, as_of)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Flips of sentiment and spikes of mentions. Read with FINAL';

CREATE TABLE IF NOT EXISTS text_topics
(
    text_id String COMMENT 'The text',
    version LowCardinality(String) COMMENT 'Of the word lists',
    topics Array(LowCardinality(String)) COMMENT 'What it is about; empty where nothing was recognised',
    fear Nullable(Float64) COMMENT 'In [0, 1]; NULL where the text could not be read',
    greed Nullable(Float64) COMMENT 'In [0, 1]; NULL where the text could not be read',
    excitement Nullable(Float64) COMMENT 'In [0, 1]; NULL where the text could not be read',
    available_at DateTime64(9, 'UTC') COMMENT 'When the text could first be read' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYear(available_at)
ORDER BY (available_at, text_id, version)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What texts are about and what they feel. Read with FINAL';
