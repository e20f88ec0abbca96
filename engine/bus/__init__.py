"""Redis: latest snapshots and fan-out, embedded or on a server."""
