"""Learning: networks that replace the matching."""
