-- How often those who write were right.

CREATE TABLE IF NOT EXISTS source_credibility
(
    source LowCardinality(String) COMMENT 'Configured name of the source of texts',
    level LowCardinality(String) COMMENT 'source: all its texts; engagement: those of a class; author: those of one',
    name String COMMENT 'Least engagement of the class, or the author''s hash; empty for the whole source',
    model LowCardinality(String) COMMENT 'Name and version of the model whose scores were judged',
    version LowCardinality(String) COMMENT 'Of the definition, with the settings that decide the values',
    as_of DateTime64(9, 'UTC') COMMENT 'Only what was known by then is in it' CODEC(DoubleDelta, ZSTD(1)),
    right Float64 COMMENT 'Opinions that came true, each worth less the longer ago it was known' CODEC(ZSTD(1)),
    wrong Float64 COMMENT 'Opinions that did not, likewise' CODEC(ZSTD(1)),
    opinions Int64 COMMENT 'How many there were at all',
    prior Float64 COMMENT 'Credibility without these opinions, in [0, 1]',
    credibility Float64 COMMENT 'In [0, 1]: the mean of a Beta distribution around the prior',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
PARTITION BY toYear(as_of)
ORDER BY (source, level, name, model, version, as_of)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'How often a source, its texts of an engagement, and an author were right. Read with FINAL';
