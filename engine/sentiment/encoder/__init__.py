"""The sentence encoder behind `minilm`: texts to tokens, weights and adapter to logits."""
