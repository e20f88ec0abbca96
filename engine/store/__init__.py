"""Rows in ClickHouse: one client, two homes (a server, or chDB behind the same protocol)."""
