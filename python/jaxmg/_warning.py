"""Warning class of this package."""


class JaxMgWarning(UserWarning):
    """Category of all warnings: a call works, but is slower or less reliable than it should be."""
