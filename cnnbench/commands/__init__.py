"""One file for each verb: its arguments, its one call, what it shows. Nobody imports a command but cli.py."""
