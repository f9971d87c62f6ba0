"""Reads run folders and judges them; never imports torch."""
