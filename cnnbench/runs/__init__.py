"""The run folder: its format, what counts as the same, writing it and reading it."""
