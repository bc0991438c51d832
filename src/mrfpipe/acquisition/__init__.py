"""Acquisition: raw scans and trajectories, as the scanner's file has them."""
