"""Feeds of texts and market mood, and which instruments a text speaks of."""
