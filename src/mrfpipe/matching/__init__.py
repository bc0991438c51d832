"""Matching: each voxel compared with every entry of a dictionary."""
