"""Thin Ray actors around everything below, and the supervisor that keeps them."""
