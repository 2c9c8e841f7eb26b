"""The class of all warnings of this package."""


class JaxMgWarning(UserWarning):
    """Something works, but not as well as it could."""
