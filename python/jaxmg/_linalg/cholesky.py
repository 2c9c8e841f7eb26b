"""Solves, factors, inverses and determinants of Hermitian positive definite matrices."""

from typing import overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg._arguments import (
    positive_int,
    real_scalar,
)
from jaxmg._linalg.factors import CholeskyFactor
from jaxmg._linalg.options import Options, prepared, takes, to_matrix
from jaxmg._linalg.refined import RefinedFactor, refined_factor
from jaxmg._mesh import placement, programs
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._rules import cholesky as rules


@overload
def cho_factor(a, *, refine: None = None, **options) -> CholeskyFactor: ...
@overload
def cho_factor(a, *, refine: str, **options) -> CholeskyFactor | RefinedFactor: ...
@takes("tile", "backend", "donate", "refine", "workspace_limit")
def cho_factor(a, *, options: Options) -> CholeskyFactor | RefinedFactor:
    """Factor a Hermitian positive definite matrix into a reusable Cholesky factor.

    Parameters
    ----------
    a : (N, N) array
        Hermitian positive definite; as for `solve` with ``assume_a="pos"``, only the upper triangle
        is read.
    {options}

    Returns
    -------
    CholeskyFactor or RefinedFactor
        A pytree with the methods `solve`, `solve_triangular`, `inv`, `lower`, `logdet` and
        `slogdet`, accepted by `cho_solve` and the other functions here. They use its tile size. Its
        attribute `info` is LAPACK's; if it is not 0, all results from the factor are NaN. With
        `refine`, a `RefinedFactor` that keeps `a`, only for solves. This function does not use
        ``jaxmg.config.refine``.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does, and if `donate` is passed with `refine`.

    See Also
    --------
    solve : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.cho_factor(4.0 * jnp.eye(3))
    >>> jaxmg.linalg.cho_solve(factor, jnp.ones(3)).tolist()
    [0.25, 0.25, 0.25]
    """
    if options.refine not in (None, "off"):
        return refined_factor(a, "pos", options)
    a, call = prepared("cho_factor", a, options)
    dealt, info = _factor(*placement.place_all(call.ranks, a), call=call, donate=options.donate)
    return CholeskyFactor.of(dealt, info, call.ranks)


@takes("tile", "backend", "workspace_limit")
def cho_factor_shifted(
    a, *, shift=None, growth=10.0, max_tries=10, options: Options
) -> tuple[CholeskyFactor, jax.Array]:
    """Factor ``a + s * I`` for the first s in 0, shift, growth * shift, ... that succeeds.

    Use it for a matrix that is indefinite only through rounding. It works inside ``jit``: the
    attempts are a ``lax.while_loop``.

    Parameters
    ----------
    a : (N, N) array
        As for `cho_factor`, except that it may be slightly indefinite.
    shift : real scalar, optional
        The first shift tried after 0, in the real dtype that corresponds to `a`; by default N eps
        times the mean of ``abs(diag(a))``.
    growth : float
        Factor by which the shift grows at each attempt; above 1.
    max_tries : int
        Maximum number of shifts to try, besides 0.
    {options}

    Returns
    -------
    factor : CholeskyFactor
        The factor of ``a + s * I``. If no shift was large enough, its `info` is not 0.
    s : () array
        The last shift, in the real dtype that corresponds to `a`. It is a constant under
        differentiation.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does, and if `growth` or `max_tries` is out of range.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor, s = jaxmg.linalg.cho_factor_shifted(jnp.ones((3, 3)), shift=1e-3)
    >>> int(factor.info), float(s) > 0
    (0, True)
    """
    a, call = prepared("cho_factor", a, options)
    max_tries = positive_int(max_tries, "max_tries")
    if not growth > 1:
        raise ValueError(f"growth must be above 1, got {growth}")
    (placed,) = placement.place_all(call.ranks, a)
    first = None
    if shift is not None:
        first = placement.place_scalar(real_scalar(shift, "shift", a.dtype), call.ranks, placed)
    dealt, info, s = _factor_shifted(
        placed, first, call=call, growth=float(growth), max_tries=max_tries
    )
    return CholeskyFactor.of(dealt, info, call.ranks), s


@takes("backend", "workspace_limit")
def cho_solve(factor, b, *, options: Options) -> jax.Array:
    """Solve ``a @ x = b`` with the factor of `a`.

    Parameters
    ----------
    factor : CholeskyFactor or RefinedFactor
        From `cho_factor`.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with any sharding. The dtypes of factor and `b` are promoted to the common
        one.
    {options}

    Returns
    -------
    x : array
        The solution, with the shape and the sharding of `b`; all NaN if ``factor.info`` is not 0.

    Raises
    ------
    ValueError
        If the shapes do not match, the mesh does not match the mesh of the factor, or `b` and the
        factor are both on several devices but on different ones.
    TypeError
        If the dtype of `b` is not supported, or `factor` is not a `CholeskyFactor`.

    Notes
    -----
    Forward and backward substitution over the tile columns, which are not moved: `b` is moved to
    their devices, and x to the devices of `b`. Inside ``jit``, a factor that was made on one device
    is replicated over the mesh. Derivatives and ``vmap`` are as for `solve`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.cho_factor(4.0 * jnp.eye(3))
    >>> jaxmg.linalg.cho_solve(factor, jnp.ones((3, 2))).shape
    (3, 2)
    """
    return _check_factor(factor).solve(b, **options.named("backend", "workspace_limit"))


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def cholesky(a, *, options: Options):
    """Return the Cholesky factor L of a Hermitian positive definite matrix, ``a = L @ L^H``.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        As for `cho_factor`, or the factor of the matrix, whose tile size is used.
    {options}

    Returns
    -------
    l : (N, N) array
        Lower triangular, zeros above the diagonal, with the sharding of `a` (for a factor, see
        `inv`). All NaN if `a` is not positive definite.
    info : () int32 array
        Only with ``return_info=True``; see `solve`.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does.

    Notes
    -----
    To solve systems, prefer `cho_factor` and `cho_solve`: they skip the redistribution of L. The
    cotangent of `a` is Hermitian, as for ``jnp.linalg.cholesky``. Only the Hermitian part of a
    tangent is used.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jaxmg.linalg.cholesky(4.0 * jnp.eye(2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    if not isinstance(a, CholeskyFactor):
        return to_matrix("cholesky", _lower, a, options)
    x = a.lower(**options.named("backend", "donate", "workspace_limit"))
    return (x, a.info) if options.return_info else x


@takes("tile", "backend", "donate", "workspace_limit")
def logdet(a, *, options: Options) -> jax.Array:
    """Return the logarithm of the determinant of a Hermitian positive definite matrix.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        As for `cho_factor`, or the factor of the matrix, whose tile size is used.
    {options}

    Returns
    -------
    () array
        In the real dtype that corresponds to `a`; NaN if `a` is not positive definite.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does.

    Notes
    -----
    Twice the sum of the logarithms of the diagonal of L. A derivative costs one inverse.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> float(jaxmg.linalg.logdet(jnp.eye(3)))
    0.0
    """
    return _as_factor(a, options).logdet(**options.named("backend", "workspace_limit"))


# --- programs ---------------------------------------------------------------------------------


@programs.program()
def _factor(a, *, call: Call):
    return rules.factor(call, programs.matrix_on_mesh(a, call.ranks))


@programs.program("growth", "max_tries")
def _factor_shifted(a, first, *, call: Call, growth, max_tries):
    if first is None:
        diagonal = jnp.abs(row_blocks.diagonal(a, call=call).real)
        first = np.finfo(a.dtype).eps * jnp.sum(diagonal)
    first = first.astype(np.finfo(a.dtype).dtype)
    a = programs.matrix_on_mesh(a, call.ranks)
    return rules.factor_shifted(call, growth, max_tries, a, first)


@programs.program("spec")
def _lower(a, *, call: Call, spec):
    factor, info = rules.factor(call, programs.matrix_on_mesh(a, call.ranks))
    triangle = rules.lower(call, factor)
    return row_blocks.to_matrix(triangle, call=call, spec=spec), info


# --- argument checks --------------------------------------------------------------------------


def _as_factor(a, options: Options) -> CholeskyFactor:
    if isinstance(a, CholeskyFactor):
        return a
    return cho_factor(a, **options.named("tile", "backend", "donate", "workspace_limit"))


def _check_factor(factor) -> CholeskyFactor | RefinedFactor:
    by_cholesky = isinstance(factor, RefinedFactor) and factor.pivots is None
    if not (by_cholesky or isinstance(factor, CholeskyFactor)):
        raise TypeError(
            f"factor must be a CholeskyFactor, from cho_factor; got {type(factor).__name__}"
        )
    return factor
