"""A run's model as a file for other programs, written once it was reopened and had given the run's answers."""
