"""Phantom: raw scans whose truth is known."""
