"""Evaluation: how far maps are from a reference."""
