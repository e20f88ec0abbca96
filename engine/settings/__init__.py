"""Sections of the configuration that a file of their own describes: one for each job."""
