-- Rows that a job set aside, and candles that come from files.

CREATE TABLE IF NOT EXISTS quarantine
(
    job LowCardinality(String) COMMENT 'Which job set it aside',
    run_id String COMMENT 'The run that did',
    table_name LowCardinality(String) COMMENT 'The table that the row is not fit for',
    source String COMMENT 'Where it comes from: a file, a text source, a venue',
    row_number Int64 COMMENT 'Its place in the file, from 1; 0 where it has none or the whole file is meant',
    reason LowCardinality(String) COMMENT 'What is wrong with it',
    row String COMMENT 'The row as it was found, JSON' CODEC(ZSTD(3)),
    quarantined_at DateTime64(9, 'UTC') COMMENT 'When it was set aside' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written: retention counts from here'
)
ENGINE = ReplacingMergeTree(quarantined_at)
ORDER BY (table_name, source, row_number, reason, cityHash64(row))
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Rows that were not let in, with the reason. Set aside again, a row counts once. Read with FINAL';

ALTER TABLE candles COMMENT COLUMN source 'trades (built here), rest (the venue''s) or import (from a file)';
