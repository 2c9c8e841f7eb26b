c = jnp.ones(n)
