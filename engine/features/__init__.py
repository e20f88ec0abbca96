"""Candles to feature rows: one catalogue, read by the batch and the live path alike."""
