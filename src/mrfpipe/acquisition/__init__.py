"""Acquisition: raw scans and trajectories, and the file formats of scanners."""
