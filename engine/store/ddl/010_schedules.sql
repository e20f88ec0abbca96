-- Schedules: jobs that an engine submits by itself, and what came of them.

CREATE TABLE IF NOT EXISTS schedules
(
    name LowCardinality(String) COMMENT 'Unique',
    job LowCardinality(String) COMMENT 'Which job',
    every String COMMENT 'How often: 15m, 1h, 1d from midnight UTC, or five fields of cron in UTC',
    settings String COMMENT 'Keys of the job and their values, JSON',
    catch_up Int64 COMMENT 'How many missed runs are made up for, the newest',
    origin LowCardinality(String) COMMENT 'configuration or command',
    since DateTime64(9, 'UTC') COMMENT 'Moments up to this one are not due',
    is_paused Bool COMMENT 'Whether nothing is submitted for now',
    is_removed Bool COMMENT 'Whether it is gone',
    version UInt64 COMMENT 'The largest counts',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY name
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Jobs on a schedule. Read with FINAL';

CREATE TABLE IF NOT EXISTS schedule_runs
(
    name LowCardinality(String) COMMENT 'Which schedule',
    due_at DateTime64(9, 'UTC') COMMENT 'When it was due, or asked for by hand' CODEC(DoubleDelta, ZSTD(1)),
    is_by_hand Bool COMMENT 'Whether somebody asked for it',
    state LowCardinality(String) COMMENT 'asked, submitting, running, done, failed, stopped or lost',
    submission_id String COMMENT 'Ray''s id of the job; job_runs has the same',
    attempt Int64 COMMENT 'From 1; a run that was lost with its cluster is submitted again',
    passed_over Int64 COMMENT 'Moments before it that were due and left out',
    started_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When it was first submitted',
    ended_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When it ended; NULL while it is going',
    problem String COMMENT 'Why it failed or waits' CODEC(ZSTD(3)),
    version UInt64 COMMENT 'The largest counts',
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(due_at)
ORDER BY (name, due_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Runs of schedules. Read with FINAL';
