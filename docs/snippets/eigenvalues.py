B = A + jnp.eye(n)  # positive definite


def f(w):
    return jnp.exp(-w / n)
