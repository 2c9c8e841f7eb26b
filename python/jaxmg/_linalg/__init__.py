"""The functions of `jaxmg.linalg`, their options, and the factors as values."""
