"""Report: one page that shows a result to people, and opens without a network."""
