-- Where the process of a job ran: one that is gone without a word is told from one that runs.

ALTER TABLE job_runs ADD COLUMN IF NOT EXISTS host LowCardinality(String) COMMENT 'The machine that its process ran on';

ALTER TABLE job_runs ADD COLUMN IF NOT EXISTS pid Int64 COMMENT 'The number of that process there';

ALTER TABLE job_runs COMMENT COLUMN outcome 'running, done, failed, stopped, or lost: its process was gone without a word';
