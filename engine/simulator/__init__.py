"""Venues and a news feed of our own that speak the real wire protocols on loopback."""
