"""What came of a job; the command shows the same of one that it submitted."""

from __future__ import annotations

from engine.job_summary import Summary

__all__ = ["Summary"]
