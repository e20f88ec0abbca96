"""Raw texts -> texts that count: normal form, language, spam, near-duplicates, credibility."""
