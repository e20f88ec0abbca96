"""The engine: from an exchange frame and a headline to a ranked, explained signal."""
