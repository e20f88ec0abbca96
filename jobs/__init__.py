"""Batch jobs: `python -m jobs.NAME --config FILE`."""
