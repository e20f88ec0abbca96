"""Wire formats of the simulated venues, one module each."""
