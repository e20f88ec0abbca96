"""Texts to scores, and scores to aggregates per instrument and window."""
