"""A posterior for GPJax whose covariance matrix and factor are sharded over the devices.

GPJax conditions a model on data by the method `condition`, and its objectives and predictions use
the posterior that this returns. With the two classes below, the likelihood, its gradients and
predictions run on all devices. The results are compared with GPJax's own posterior. Requires
`pip install gpjax`: version 1.0, for JAX 0.10 or older.
"""

import os

import jax

jax.config.update("jax_num_cpu_devices", 4)  # without a GPU
jax.config.update("jax_enable_x64", True)
import equinox as eqx
import gpjax as gpx
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
from gpjax.conditioning import ExactPosterior
from gpjax.distributions import GaussianDistribution
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxmg

mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, P("x", None))
N = 256 - 256 % mesh.size


class ShardedPosterior(ExactPosterior):
    """GPJax's exact posterior of one output, on all devices."""

    def __init__(self, prior, likelihood, train_data):
        x, y = train_data.X, train_data.y
        variance = likelihood.noise_vector(train_data.n) + prior.jitter
        covariance = prior.kernel.gram(x).as_matrix() + jnp.diag(variance)
        covariance = jax.lax.with_sharding_constraint(covariance, rows)
        self.prior, self.likelihood, self.train_data = prior, likelihood, train_data
        self.residual = y - prior.mean_function(x)
        self.cholesky_factor = jaxmg.linalg.cho_factor(covariance)
        self.representer_weights = jaxmg.linalg.cho_solve(self.cholesky_factor, self.residual)
        fit = jnp.sum(self.residual * self.representer_weights)
        logdet = jaxmg.linalg.logdet(self.cholesky_factor)
        self.log_marginal_likelihood = -0.5 * (fit + logdet + len(x) * jnp.log(2 * jnp.pi))

    def __call__(self, test_inputs, *, covariance="dense"):
        kernel = self.prior.kernel
        cross = kernel.cross_covariance(self.train_data.X, test_inputs)
        half = jaxmg.linalg.solve_triangular(self.cholesky_factor, cross)
        mean = self.prior.mean_function(test_inputs) + cross.T @ self.representer_weights
        jitter = self.prior.jitter * jnp.eye(len(test_inputs))
        scale = kernel.gram(test_inputs).as_matrix() - half.T @ half + jitter
        if covariance == "diagonal":
            scale = jnp.diag(jnp.diagonal(scale))
        return GaussianDistribution(jnp.squeeze(mean, 1), lx.MatrixLinearOperator(scale))


class ShardedModel(gpx.gps.ConjugateModel):
    """A prior times a Gaussian likelihood, conditioned on all devices."""

    def condition(self, train_data):
        return ShardedPosterior(self.prior, self.likelihood, train_data)


x = jnp.linspace(0.0, 10.0, N)[:, None]
noise = 0.2 * jax.random.normal(jax.random.key(0), (N, 1))
data = gpx.Dataset(X=x, y=jnp.sin(0.5 * x) + 0.5 * jnp.sin(2 * x) + noise)

prior = gpx.gps.Prior(mean_function=gpx.mean_functions.Zero(), kernel=gpx.kernels.Matern52())
model = ShardedModel(prior, gpx.likelihoods.Gaussian(obs_stddev=0.5))


def loss(model, data):
    return -gpx.objectives.conjugate_mll(model, data) / N


fitted, history = gpx.fit(
    model=model,
    objective=loss,
    train_data=data,
    optim=optax.adam(0.05),
    num_iters=60,
    verbose=False,
)
print(f"objective per point: {history[0]:.4f}, after 60 steps {history[-1]:.4f}")
assert history[-1] < 0.1

own = fitted.prior * fitted.likelihood
found, known = (eqx.filter_jit(eqx.filter_value_and_grad(loss))(m, data) for m in (fitted, own))
np.testing.assert_allclose(found[0], known[0], rtol=1e-9)
for gradients in zip(*(jax.tree.leaves(gradient) for _, gradient in (found, known)), strict=True):
    np.testing.assert_allclose(*gradients, rtol=1e-6, atol=1e-8)

x_new = jnp.linspace(0.0, 12.0, 130)[:, None]


@eqx.filter_jit
def predict(model):
    found = model.predict(x_new, data)
    return found.mean, found.variance


made, expected = predict(fitted), predict(own)
np.testing.assert_allclose(made, expected, atol=1e-7)
print(f"as GPJax's own posterior: likelihood {-found[0]:.4f} per point")

if path := os.environ.get("JAXMG_EXAMPLE_PICTURE"):
    from matplotlib import pyplot as plt

    (mean, variance), points = made, x_new[:, 0]
    deviation = jnp.sqrt(variance)
    plt.figure(figsize=(7, 3.5), layout="constrained")
    plt.plot(x[:, 0], data.y[:, 0], ".", color="0.6", markersize=3, label="data")
    below, above = mean - 2 * deviation, mean + 2 * deviation
    plt.fill_between(points, below, above, alpha=0.3, label="2 deviations")
    plt.plot(points, mean, label="prediction")
    plt.legend()
    plt.savefig(path, dpi=130)
