"""Run: from scan files to results, for one scan or many, on this machine, on a cluster or from Python."""
