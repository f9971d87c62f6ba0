"""Trained networks made smaller or faster, and judged by the clock."""
