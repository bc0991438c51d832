"""Protocols as TOML files: the sequence, the tissue and the grid of a dictionary."""
