"""`UsageError`: an argument of a command that cannot be used."""


class UsageError(Exception):
    """Reported on one line, with the exit status 2."""
