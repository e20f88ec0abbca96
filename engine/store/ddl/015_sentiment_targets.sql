-- What a text feels about each of its instruments, where it names several assets.

ALTER TABLE sentiment_scores ADD COLUMN IF NOT EXISTS target_instruments Array(LowCardinality(String)) COMMENT 'Where the text names several assets: its instruments among them; else empty' AFTER scored_at;

ALTER TABLE sentiment_scores ADD COLUMN IF NOT EXISTS target_scores Array(Nullable(Float64)) COMMENT 'What it feels about each, in [-1, 1]; NULL where that cannot be read' AFTER target_instruments;

ALTER TABLE sentiment_scores ADD COLUMN IF NOT EXISTS target_labels Array(LowCardinality(Nullable(String))) COMMENT 'bearish, neutral or bullish for each; NULL where the score is' AFTER target_scores;
