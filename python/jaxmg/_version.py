"""The version, which the build reads, too."""

__version__ = "2.0.0"
