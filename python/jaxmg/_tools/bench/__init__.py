"""Test matrices, timings and checks of routines, and ``python -m jaxmg bench``."""
