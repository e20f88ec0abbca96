"""Domain rows to ClickHouse and back, embedded or on a server."""
