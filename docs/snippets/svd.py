import functools

momenta = jax.random.normal(jax.random.key(1), (4, 64, 32))  # of four layers
