"""The statistics behind the verdicts: numbers in, numbers out."""
