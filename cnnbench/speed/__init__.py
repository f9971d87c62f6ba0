"""Whatever holds a clock: which policy is fastest, how fast models are, how long runs will take."""
