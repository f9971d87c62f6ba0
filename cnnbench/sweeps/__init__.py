"""Many runs: jobs on Hydra's launchers, and ablations."""
