-- Texts, what they feel, and market mood. `inserted_at` is set by the store: the newest row counts.

CREATE TABLE IF NOT EXISTS texts
(
    text_id String COMMENT 'Stable hash of source and the source''s own id',
    source LowCardinality(String) COMMENT 'Configured name of the source',
    kind LowCardinality(String) COMMENT 'news or post',
    title String COMMENT 'The headline; for a post, its whole text' CODEC(ZSTD(3)),
    body String COMMENT 'What follows the headline' CODEC(ZSTD(3)),
    url String COMMENT 'Where it stands' CODEC(ZSTD(3)),
    author String COMMENT 'Keyed hash of the author, never the name',
    published_at DateTime64(9, 'UTC') COMMENT 'What the source says' CODEC(DoubleDelta, ZSTD(1)),
    available_at DateTime64(9, 'UTC') COMMENT 'When we could first read it: joins use this' CODEC(DoubleDelta, ZSTD(1)),
    engagement Float64 COMMENT 'Likes, shares and the like, summed',
    credibility Float64 COMMENT 'Weight of the source in [0, 1]',
    instruments Array(LowCardinality(String)) COMMENT 'Instruments it speaks of, in order of mention',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYear(available_at)
ORDER BY (available_at, text_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Headlines and posts. Read with FINAL';

CREATE TABLE IF NOT EXISTS sentiment_scores
(
    text_id String COMMENT 'The text',
    model LowCardinality(String) COMMENT 'Name and version of the model',
    score Float64 COMMENT 'In [-1, 1]: P(bullish) - P(bearish)',
    bearish Float64 COMMENT 'Probability in [0, 1]',
    neutral Float64 COMMENT 'Probability in [0, 1]',
    bullish Float64 COMMENT 'Probability in [0, 1]',
    label LowCardinality(String) COMMENT 'bearish, neutral or bullish',
    confidence Float64 COMMENT 'Probability of the label',
    scored_at DateTime64(9, 'UTC') COMMENT 'When it was scored' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (model, text_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'One model''s reading of one text. Read with FINAL';

CREATE TABLE IF NOT EXISTS sentiment_aggregates
(
    instrument LowCardinality(String) COMMENT 'Instrument',
    window LowCardinality(String) COMMENT '1h, 4h, 1d or 1w',
    as_of DateTime64(9, 'UTC') COMMENT 'Only texts available by then are in it' CODEC(DoubleDelta, ZSTD(1)),
    score Nullable(Float64) COMMENT 'Weighted mean in [-1, 1]; NULL where there was no text',
    dispersion Nullable(Float64) COMMENT 'Weighted standard deviation of the scores',
    bullish Int64 COMMENT 'Bullish texts',
    bearish Int64 COMMENT 'Bearish texts',
    neutral Int64 COMMENT 'Neutral texts',
    weight Float64 COMMENT 'Sum of credibility x engagement x decay',
    model LowCardinality(String) COMMENT 'Name and version of the model',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYear(as_of)
ORDER BY (instrument, window, as_of, model)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What many texts feel about an instrument. Read with FINAL';

CREATE TABLE IF NOT EXISTS market_mood
(
    series LowCardinality(String) COMMENT 'Name of the series',
    time DateTime64(9, 'UTC') COMMENT 'What the value describes' CODEC(DoubleDelta, ZSTD(1)),
    value Float64 COMMENT 'In the series'' own unit',
    available_at DateTime64(9, 'UTC') COMMENT 'When it was published',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (series, time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Indices of how markets feel. Read with FINAL';
