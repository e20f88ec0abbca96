-- Training sets that were exported.

CREATE TABLE IF NOT EXISTS datasets
(
    dataset_id String COMMENT 'Made of what the files hold',
    run_id String COMMENT 'The run that wrote it, in job_runs',
    path String COMMENT 'Folder it was written to',
    created_at DateTime64(9, 'UTC') COMMENT 'When it was written',
    watermark DateTime64(9, 'UTC') COMMENT 'Nothing that became available later is in it',
    timeframe LowCardinality(String) COMMENT 'Timeframe of its bars',
    rows Int64 COMMENT 'Bars of markets',
    files Int64 COMMENT 'Parquet files',
    sha256 String COMMENT 'Of the files'' names and hashes',
    feature_version LowCardinality(String) COMMENT 'Version of the feature catalogue',
    label_version LowCardinality(String) COMMENT 'Version of the labels; empty without labels',
    code_version LowCardinality(String) COMMENT 'Version of the package',
    quality LowCardinality(String) COMMENT 'passed, or forced where the gate failed and was overruled',
    manifest String COMMENT 'The manifest beside the files, JSON' CODEC(ZSTD(3)),
    inserted_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When this row was written'
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (dataset_id, run_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Exported training sets. Read with FINAL';
