"""Trades to candles, live and from what is stored."""
