"""Candles from files: found, read, mapped to our names, checked, all without Ray and store.

A file is looked at twice. `engine.imports.census` reads it once from end to end and says what is
in it and what is wrong with it, without keeping it; only when all files are found sound does
`engine.imports.convert` read them again and make rows of ``candles``.
"""
