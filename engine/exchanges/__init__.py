"""Frames of venues to market events: pure adapters, one stream loop, replay of recordings."""
