"""History over REST into the store: what is missing of trades and candles, fetched once."""
