"""L2 order books: kept from a venue's updates, verified, measured and sampled. No I/O, no clock."""
