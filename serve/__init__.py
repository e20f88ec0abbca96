"""HTTP: signals, candles, features and sentiment on Ray Serve."""
