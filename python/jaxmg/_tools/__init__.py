"""The checks of ``python -m jaxmg doctor``."""
