"""Evaluation: errors of maps with respect to a reference."""
