"""The nouns of the system. Nothing here imports anything of ours but errors."""
