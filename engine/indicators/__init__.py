"""Arrays to arrays: TA-Lib behind one small contract."""
