"""Imaging: from k-space to a series of images."""
