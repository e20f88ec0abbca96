"""Snapshots and fan-out over Redis, and a Redis of our own."""
