"""Files: the only place where results are read from and written to disk."""
