"""Training of `minilm`: examples, splits, the loop, and what is refused at the end."""
