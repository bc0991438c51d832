"""Run: from a scan's file to its result, one or many, here, on a cluster or from Python."""
