"""Files: the only package that reads results from disk and writes them to it."""
