"""Several models that read together."""
