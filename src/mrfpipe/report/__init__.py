"""Report: one HTML page that shows a result, and opens without a network."""
