"""Feature rows and sentiment to signals and rankings."""
