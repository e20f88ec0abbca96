"""The definitions of the features, a module per group; the catalogue gathers them."""
