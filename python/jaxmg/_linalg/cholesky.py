"""Solves, factors, inverses and determinants of Hermitian positive definite matrices."""

import math

import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from jaxmg._arguments import (
    as_arrays,
    check_right_hand_side,
    check_square,
    positive_int,
    real_scalar,
)
from jaxmg._linalg.factors import CholeskyFactor
from jaxmg._linalg.options import Options, make_call, prepared, takes, to_matrix
from jaxmg._mesh import placement, programs
from jaxmg._mesh.entering import entered
from jaxmg._mesh.finding import ranks_of
from jaxmg._mesh.specs import spec_on
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._rules import cholesky as rules

_ASSUMPTIONS = ("gen", "diagonal", "tridiagonal", "banded", "upper triangular",
                "lower triangular", "sym", "her", "pos")  # fmt: skip


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def solve(a, b, *, assume_a="gen", check=False, options: Options):
    """Solve ``a @ x = b`` for a matrix sharded over several devices.

    Parameters
    ----------
    a : (N, N) array
        Hermitian positive definite; float32, float64, complex64 or complex128. Sharded over rows,
        columns or both, replicated, or on one device; mesh and sharding are read off the array.
        Only the upper triangle, the elements ``a[i, j]`` with ``j >= i``, is read; imaginary parts
        on the diagonal are ignored.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with any sharding. Dtypes are promoted as in ``jax.numpy.linalg``:
        integers and bools to floats, then `a` and `b` to their common dtype.
    assume_a : str
        Structure of `a`, with SciPy's meaning. Only ``"pos"`` (Hermitian positive definite) is
        supported so far.
    check : bool
        Raise if `a` is not positive definite, by ``jax.experimental.checkify.check``. Inside
        ``jit``, this requires the program to be transformed by ``checkify``.
    {options}

    Returns
    -------
    x : array
        The solution, with the shape and the sharding of `b` and the common dtype. If `a` is not
        positive definite, or holds NaN or infinity where it is read, every element is NaN.
    info : () int32 array
        Only with ``return_info=True``: 0, or the order of the first leading minor that is not
        positive definite (LAPACK's meaning), the same on every device.

    Raises
    ------
    ValueError
        If the shapes do not match, `tile` or `workspace_limit` is below 1, `backend` or `assume_a`
        is unknown, `backend` does not support this call, or `a` and `b` are both on several devices
        but on different ones.
    TypeError
        If a dtype is not supported, such as half precision.
    NotImplementedError
        If `assume_a` is not "pos".
    RuntimeError
        If the native library for the devices' platform, or that of `backend`, cannot be loaded.

    Notes
    -----
    The call runs on the devices of the first operand that is on several devices, whatever mesh is
    set. The other operand is moved there, and x is moved to the devices of `b`. If both operands
    are on one device, `a` is sharded over the mesh set by ``jax.set_mesh``; an `a` committed to a
    device stays there.

    Inside ``jit``, the mesh is set by ``jax.set_mesh``, else read off the traced arrays, else off
    arrays the function closes over, else there is one device. On Explicit axes the sharding is part
    of the type and is preserved. On Auto axes it is unknown while tracing: the matrix is then
    sharded over all axes of the mesh, and XLA chooses the sharding of x. Inside ``shard_map`` each
    rank solves its own system.

    Derivatives of any order reuse the factor: each costs one more solve. `a` is assumed Hermitian;
    its cotangent covers all elements and is not symmetrised. Tangents are read in full, as by
    ``jax.scipy.linalg.solve``. The unread triangle of `a` affects no derivative, even if it is NaN.
    ``vmap`` over `b` makes one call with all right-hand sides; over `a`, systems are solved one
    after another, each on all devices.

    The factorisation is the right-looking blocked Cholesky algorithm with look-ahead, on tile
    columns dealt round-robin to the devices (Choi, Dongarra, Ostrouchov, Petitet, Walker, Whaley,
    "Design and implementation of the ScaLAPACK LU, QR, and Cholesky factorization routines",
    Scientific Programming 5, 1996).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import NamedSharding, PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> a = jax.device_put(4 * jnp.eye(n), NamedSharding(mesh, P("x", None)))
    >>> x = jaxmg.linalg.solve(a, jnp.ones(n), assume_a="pos")
    >>> bool((x == 0.25).all())
    True
    """
    _require_positive_definite(assume_a)
    a, b = as_arrays(("a", a), ("b", b))
    check_square(a)
    check_right_hand_side(a, b)
    ranks, nrhs = ranks_of(a, b), math.prod(b.shape[1:])
    call = make_call("potrs", a, ranks, options, count=nrhs)
    x_spec = spec_on(b, call.ranks.mesh)
    placed = placement.place_all(call.ranks, a, b)
    if options.donate:
        x, info, _ = _solve_in_place(*placed, call=call, x_spec=x_spec, donate=True)
    else:
        x, info = _solve(*placed, call=call, x_spec=x_spec)
    if check:
        with entered(call.ranks):
            _check(info)
    x = placement.keep_sharding(x, b)
    return (x, info) if options.return_info else x


@takes("tile", "backend", "donate", "workspace_limit")
def cho_factor(a, *, options: Options):
    """Factor a Hermitian positive definite matrix into a reusable Cholesky factor.

    Parameters
    ----------
    a : (N, N) array
        As for `solve`.
    {options}

    Returns
    -------
    CholeskyFactor
        A pytree with the methods `solve`, `solve_triangular`, `inv`, `lower`, `logdet` and
        `slogdet`, accepted by `cho_solve` and the other functions here. They use its tile size. Its
        attribute `info` is LAPACK's; if it is not 0, all results from the factor are NaN.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does.

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
    a, call = prepared("cho_factor", a, options)
    dealt, info = _factor(*placement.place_all(call.ranks, a), call=call, donate=options.donate)
    return CholeskyFactor.of(dealt, info, call.ranks)


@takes("tile", "backend", "workspace_limit")
def cho_factor_shifted(a, *, shift=None, growth=10.0, max_tries=10, options: Options):
    """Factor ``a + s * I`` for the first s in 0, shift, growth * shift, ... that succeeds.

    Use it for a matrix that is indefinite only through rounding. It works inside ``jit``: the
    attempts are a ``lax.while_loop``.

    Parameters
    ----------
    a : (N, N) array
        As for `solve`, except that it may be slightly indefinite.
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
def cho_solve(factor, b, *, options: Options):
    """Solve ``a @ x = b`` with the factor of `a`.

    Parameters
    ----------
    factor : CholeskyFactor
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


@takes("backend", "workspace_limit")
def solve_triangular(factor, b, *, trans=0, options: Options):
    """Solve ``L @ x = b``, ``L.T @ x = b`` or ``L.conj().T @ x = b`` with a Cholesky factor L.

    The first whitens: x has covariance I if b has covariance L L^H. The last draws samples whose
    covariance is the inverse of `a`.

    Parameters
    ----------
    factor : CholeskyFactor
        From `cho_factor`.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with any sharding. The dtypes of factor and `b` are promoted to the common
        one.
    trans : {0, "N", 1, "T", 2, "C"}
        SciPy's meaning: 0 or "N" for L, 1 or "T" for its transpose, 2 or "C" for its conjugate
        transpose. The last two are the same for a real L.
    {options}

    Returns
    -------
    x : array
        With the shape and the sharding of `b`; all NaN if ``factor.info`` is not 0.

    Raises
    ------
    ValueError, TypeError
        As `cho_solve` does, and if `trans` is unknown.

    Notes
    -----
    A derivative with respect to the matrix needs the derivative of L, which costs as much as
    several factorisations; see `cholesky`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.cho_factor(4.0 * jnp.eye(3))
    >>> jaxmg.linalg.solve_triangular(factor, jnp.ones(3)).tolist()
    [0.5, 0.5, 0.5]
    """
    given = options.named("backend", "workspace_limit")
    return _check_factor(factor).solve_triangular(b, trans=trans, **given)


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def inv(a, *, assume_a="gen", options: Options):
    """Invert a Hermitian positive definite matrix.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
    assume_a : str
        As for `solve`; ignored for a factor.
    {options}

    Returns
    -------
    x : (N, N) array
        The inverse, both triangles, with the sharding of `a`. For a factor, it is sharded over rows
        if they divide evenly among the devices. All NaN if `a` is not positive definite.
    info : () int32 array
        Only with ``return_info=True``; see `solve`.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, RuntimeError
        As `solve` does.

    Notes
    -----
    L is inverted and A^-1 = L^-H L^-1 is multiplied out (LAPACK's potri), in tile columns. A
    derivative costs two products of N x N matrices, in which each device broadcasts its block of
    rows.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jaxmg.linalg.inv(4.0 * jnp.eye(2), assume_a="pos").tolist()
    [[0.25, 0.0], [0.0, 0.25]]
    """
    if not isinstance(a, CholeskyFactor):
        _require_positive_definite(assume_a)
        return to_matrix("potri", _inverse, a, options)
    x = a.inv(**options.named("backend", "donate", "workspace_limit"))
    return (x, a.info) if options.return_info else x


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def cholesky(a, *, options: Options):
    """Return the Cholesky factor L of a Hermitian positive definite matrix, ``a = L @ L^H``.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
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
def logdet(a, *, options: Options):
    """Return the logarithm of the determinant of a Hermitian positive definite matrix.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
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


@takes("tile", "backend", "donate", "workspace_limit")
def slogdet(a, *, assume_a="gen", options: Options):
    """Return sign and logarithm of the determinant of a Hermitian positive definite matrix.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
    assume_a : str
        As for `solve`; ignored for a factor.
    {options}

    Returns
    -------
    sign : () array
        1, in the dtype of `a`; NaN if `a` is not positive definite.
    logabsdet : () array
        As `logdet` returns it.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, RuntimeError
        As `solve` does.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> sign, logabsdet = jaxmg.linalg.slogdet(jnp.eye(3), assume_a="pos")
    >>> float(sign), float(logabsdet)
    (1.0, 0.0)
    """
    if not isinstance(a, CholeskyFactor):
        _require_positive_definite(assume_a)
    return _as_factor(a, options).slogdet(**options.named("backend", "workspace_limit"))


# --- programs ---------------------------------------------------------------------------------


@programs.program("x_spec")
def _solve(a, b, *, call: Call, x_spec):
    x, info, _ = _solved(a, b, call, x_spec)
    return x, info


@programs.program("x_spec")
def _solve_in_place(a, b, *, call: Call, x_spec):
    # XLA reuses a donated buffer only for a result that aliases it: return the factor.
    return _solved(a, b, call, x_spec)


def _solved(a, b, call: Call, x_spec):
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    return rules.factor_and_solve(call, x_spec, a, b)


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
def _inverse(a, *, call: Call, spec):
    factor, info = rules.factor(call, programs.matrix_on_mesh(a, call.ranks))
    x = rules.inverse(call, factor)
    return row_blocks.to_matrix(x, call=call, spec=spec), info


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


def _check_factor(factor) -> CholeskyFactor:
    if not isinstance(factor, CholeskyFactor):
        raise TypeError(
            f"factor must be a CholeskyFactor, from cho_factor; got {type(factor).__name__}"
        )
    return factor


def _require_positive_definite(assume_a) -> None:
    if assume_a not in _ASSUMPTIONS:
        raise ValueError(f"assume_a must be one of {_ASSUMPTIONS}, got {assume_a!r}")
    if assume_a != "pos":
        raise NotImplementedError(
            f"assume_a={assume_a!r} is not implemented; if a is Hermitian positive definite, "
            "pass assume_a='pos'"
        )


def _check(info) -> None:
    checkify.check(
        info == 0,
        "a is not positive definite: the leading minor of order {info} is not positive",
        info=info,
    )
