theta, y = jnp.ones(2), b
x = jnp.linspace(0, 1, n)


def kernel(theta, x):
    distance = (x[:, None] - x[None, :]) / theta[0]
    return theta[1] * jnp.exp(-(distance**2)) + 0.1 * jnp.eye(n)
