"""Whether stored rows are fit for training: what is counted, and what the counts say."""
