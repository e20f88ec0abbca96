-- Batch jobs: what ran, and which parts of it are done.

CREATE TABLE IF NOT EXISTS job_runs
(
    run_id String COMMENT 'Unique',
    job LowCardinality(String) COMMENT 'Which job',
    submission_id String COMMENT 'Ray''s id of the submitted job; empty where it was started by hand',
    config String COMMENT 'The whole configuration that it ran with, JSON, secrets left out' CODEC(ZSTD(3)),
    code_version LowCardinality(String) COMMENT 'Version of the package, with the commit where it is known',
    started_at DateTime64(9, 'UTC') COMMENT 'When it began' CODEC(DoubleDelta, ZSTD(1)),
    ended_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When it ended; NULL while it runs',
    outcome LowCardinality(String) COMMENT 'running, done, failed or stopped',
    problem String COMMENT 'Why it failed' CODEC(ZSTD(3)),
    rows Int64 COMMENT 'Rows written',
    skipped Int64 COMMENT 'Rows or units left out; details says why',
    details String COMMENT 'The summary, JSON' CODEC(ZSTD(3)),
    version UInt64 COMMENT 'The largest counts',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(started_at)
ORDER BY (job, started_at, run_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Runs of batch jobs. Read with FINAL';

CREATE TABLE IF NOT EXISTS job_blocks
(
    job LowCardinality(String) COMMENT 'Which job',
    unit String COMMENT 'What the unit is; unique within the job',
    fingerprint String COMMENT 'Of all that decides the unit''s rows: inputs and code',
    token String COMMENT 'Of the block''s content',
    rows Int64 COMMENT 'Rows of the block',
    unit_rows Int64 COMMENT 'Rows of the whole unit: it is done when its blocks add up to them',
    run_id String COMMENT 'The run that wrote it',
    written_at DateTime64(9, 'UTC') COMMENT 'When it was written' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (job, unit, fingerprint, token)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Blocks of rows that jobs wrote: what a run that is started again need not do. Read with FINAL';
