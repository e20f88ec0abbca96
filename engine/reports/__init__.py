"""A ranking as something to read: Markdown, JSON and one HTML file; pure."""
