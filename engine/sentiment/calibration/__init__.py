"""Probabilities that mean what they say: maps from a model's to calibrated ones, and their fit."""
