"""Training sets: what was known when, joined, and written down with a manifest."""
