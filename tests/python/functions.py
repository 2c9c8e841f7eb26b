"""Real functions of a and b by `jaxmg.linalg`, each paired with its jax.numpy reference."""

import jax
import jax.numpy as jnp
from jaxmg import linalg


def weighted(x):
    """Return a real weighted sum of x, with a different weight for every element."""
    weights = 1 + jnp.arange(x.size, dtype=x.real.dtype).reshape(x.shape)
    return jnp.sum(jnp.abs(x) ** 2 * weights) + jnp.sum(x.real)


def as_hermitian(a):
    return (a + a.conj().T) / 2


def of_eigen(w, v):
    """Return a number that does not depend on the phases of eigenvectors."""
    return weighted(w) + weighted(jnp.abs(v) ** 2)


def general(a):
    """Return a matrix that is not Hermitian, and needs interchanges."""
    return jax.lax.rev(a, (1,))


def cho(a):
    return linalg.cho_factor(a)


def jnp_root(a):
    w, v = jnp.linalg.eigh(a)
    return (v * jnp.sqrt(w)) @ v.conj().T


def jnp_lower(a):
    return jnp.linalg.cholesky(a)


def generalised(a, m):
    """Return the result of `eigh(a, m)` by jax.numpy."""
    lower = jnp_lower(m)
    half = jax.scipy.linalg.solve_triangular(lower, a, lower=True)
    c = jax.scipy.linalg.solve_triangular(lower, half.conj().T, lower=True)
    return jnp.linalg.eigvalsh(as_hermitian(c))


# name: (ours, by jax.numpy), functions of a matrix and of a replicated operand.
FUNCTIONS = {
    "solve": (
        lambda a, b: weighted(linalg.solve(a, b, assume_a="pos")),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "cho_solve": (
        lambda a, b: weighted(linalg.cho_solve(cho(a), b)),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "solve_triangular": (
        lambda a, b: weighted(linalg.solve_triangular(cho(a), b)),
        lambda a, b: weighted(jax.scipy.linalg.solve_triangular(jnp_lower(a), b, lower=True)),
    ),
    "solve_triangular adjoint": (
        lambda a, b: weighted(linalg.solve_triangular(cho(a), b, trans="C")),
        lambda a, b: weighted(jnp.linalg.solve(jnp_lower(a).conj().T, b)),
    ),
    "inv": (
        lambda a, b: weighted(linalg.inv(a, assume_a="pos") @ b),
        lambda a, b: weighted(jnp.linalg.inv(a) @ b),
    ),
    "cholesky": (
        lambda a, b: weighted(linalg.cholesky(a) @ b),
        lambda a, b: weighted(jnp_lower(a) @ b),
    ),
    "logdet": (
        lambda a, b: linalg.logdet(a) * weighted(b),
        lambda a, b: jnp.linalg.slogdet(a)[1] * weighted(b),
    ),
    "slogdet": (
        lambda a, b: linalg.slogdet(a, assume_a="pos")[1] * weighted(b),
        lambda a, b: jnp.linalg.slogdet(a)[1] * weighted(b),
    ),
    "solve a general system": (
        lambda a, b: weighted(linalg.solve(general(a), b)),
        lambda a, b: weighted(jnp.linalg.solve(general(a), b)),
    ),
    "lu_solve adjoint": (
        lambda a, b: weighted(linalg.lu_solve(linalg.lu_factor(general(a)), b, trans=2)),
        lambda a, b: weighted(jnp.linalg.solve(general(a).conj().T, b)),
    ),
    "det": (
        lambda a, b: linalg.det(a).real * weighted(b),
        lambda a, b: jnp.linalg.det(a).real * weighted(b),
    ),
    "solve_triangular with a matrix": (
        lambda a, b: weighted(linalg.solve_triangular(a, b, trans=1, lower=True)),
        lambda a, b: weighted(jax.scipy.linalg.solve_triangular(a, b, trans=1, lower=True)),
    ),
    "cho_factor_shifted": (
        lambda a, b: weighted(linalg.cho_factor_shifted(a, shift=1e-3)[0].solve(b)),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "cho_factor_shifted by default": (
        lambda a, b: weighted(linalg.cho_factor_shifted(a)[0].solve(b)),
        lambda a, b: weighted(jnp.linalg.solve(a, b)),
    ),
    "eigh": (
        lambda a, b: of_eigen(*linalg.eigh(a)) * weighted(b),
        lambda a, b: of_eigen(*jnp.linalg.eigh(a)) * weighted(b),
    ),
    "eigh by value": (
        lambda a, b: of_eigen(*linalg.eigh(a, subset_by_value=(-100, 100))[:2]) * weighted(b),
        lambda a, b: of_eigen(*jnp.linalg.eigh(a)) * weighted(b),
    ),
    "eigvalsh": (
        lambda a, b: weighted(linalg.eigvalsh(a)) * weighted(b),
        lambda a, b: weighted(jnp.linalg.eigvalsh(a)) * weighted(b),
    ),
    "eigvalsh of a and a shared matrix": (
        lambda a, b: weighted(
            linalg.eigvalsh(a, b @ b.conj().T + len(b) * jnp.eye(len(b), dtype=b.dtype))
        ),
        lambda a, b: weighted(
            generalised(a, b @ b.conj().T + len(b) * jnp.eye(len(b), dtype=b.dtype))
        ),
    ),
    "pinvh": (
        lambda a, b: weighted(linalg.pinvh(a, rtol=1e-9) @ b),
        lambda a, b: weighted(jnp.linalg.inv(a) @ b),
    ),
    "sqrtm_h": (
        lambda a, b: weighted(linalg.sqrtm_h(a) @ b),
        lambda a, b: weighted(jnp_root(a) @ b),
    ),
}
