"""Train CNN image classifiers from a config, and show by measurement which technique helped."""

__version__ = "0.1.0"
