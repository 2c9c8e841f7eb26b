"""Solves, inverses and determinants of square matrices, by the structure of the matrix."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from jaxmg._arguments import as_arrays, check_right_hand_side, check_square
from jaxmg._linalg import refinement
from jaxmg._linalg.cholesky import cho_factor
from jaxmg._linalg.factors import CholeskyFactor, SlogdetResult
from jaxmg._linalg.lu import LUFactor, lu_factor
from jaxmg._linalg.options import (
    Options,
    make_call,
    prepared,
    takes,
    to_matrix,
    transposition,
)
from jaxmg._linalg.refined import RefinedFactor
from jaxmg._mesh import placement, programs
from jaxmg._mesh.entering import entered
from jaxmg._mesh.finding import ranks_of
from jaxmg._mesh.specs import spec_on
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.refinement import UNREFINED
from jaxmg._rules import cholesky as cholesky_rules
from jaxmg._rules import lu as lu_rules
from jaxmg._rules import refinement as refinement_rules

__all__ = ["det", "inv", "slogdet", "solve", "solve_triangular"]

# SciPy's values of assume_a, and the routine that solves; None: not implemented.
_ROUTINES = {
    "gen": "gesv",
    "sym": "gesv",
    "her": "gesv",
    "pos": "potrs",
    "upper triangular": "trtrs",
    "lower triangular": "trtrs",
    "diagonal": "trtrs",
    "tridiagonal": None,
    "banded": None,
}
_BY_LU = ("gen", "sym", "her")


@takes("return_info", "tile", "backend", "donate", "refine", "workspace_limit")
def solve(a, b, *, assume_a="gen", check=False, options: Options):
    """Solve ``a @ x = b`` for a square matrix sharded over several devices.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. Sharded over rows, columns or both, replicated,
        or on one device; mesh and sharding are read off the array.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with any sharding. Dtypes are promoted as in ``jax.numpy.linalg``:
        integers and bools to floats, then `a` and `b` to their common dtype.
    assume_a : str
        Structure of `a`, with SciPy's meaning:

        "gen", "sym", "her"
            General, symmetric or Hermitian. All three are solved by LU with partial pivoting, which
            reads all of `a`.
        "pos"
            Hermitian positive definite: solved by Cholesky factorisation, in half the time. Only
            the upper triangle, the elements ``a[i, j]`` with ``j >= i``, is read; imaginary parts
            on the diagonal are ignored.
        "upper triangular", "lower triangular", "diagonal"
            Solved by substitution or division. The other elements are not read.
    check : bool
        Raise if `a` is singular, or with "pos" not positive definite, by
        ``jax.experimental.checkify.check``. Inside ``jit``, this requires the program to be
        transformed by ``checkify``.
    {options}

    Returns
    -------
    x : array
        The solution, with the shape and the sharding of `b` and the common dtype. If a pivot or a
        diagonal element is exactly zero, x is infinite or NaN, as from ``jnp.linalg.solve``. A
        matrix that is nonsingular only through rounding has large solutions. With "pos", every
        element is NaN if `a` is not positive definite, or holds NaN or infinity where it is read.
    info : () int32 array
        Only with ``return_info=True``: 0, or LAPACK's ``info``, the same on every device. It is the
        number, from 1, of the first pivot (or diagonal element) that is exactly zero; with "pos",
        the order of the first leading minor that is not positive definite.
    iterations : () or (nrhs,) int32 array
        Only with ``return_info=True`` and `refine`, for each right-hand side: the number of
        iterations of the refinement, or below 0, as from LAPACK's dsposv, the reason why x is the
        result without refinement. -1: "off", or chosen by "auto"; -2: `a` is out of range after
        scaling, or a diagonal element is not positive; -3: the factorisation failed; -4: slow or no
        convergence; -31: not converged after 30 iterations.

    Raises
    ------
    ValueError
        If the shapes do not match, `tile` or `workspace_limit` is below 1, `backend`, `refine` or
        `assume_a` is unknown or does not support this call, or `a` and `b` are both on several
        devices but on different ones.
    TypeError
        If a dtype is not supported, such as half precision.
    NotImplementedError
        If `assume_a` is "tridiagonal" or "banded".
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

    Derivatives of any order reuse the factor: each costs one more solve with it, or with its
    transpose. Unread elements of `a` affect no derivative, even if they are NaN. With "pos", `a` is
    assumed Hermitian; its cotangent covers all elements and is not symmetrised. Tangents are read
    in full, as by ``jax.scipy.linalg.solve``. ``vmap`` over `b` makes one call with all right-hand
    sides. Over `a`, each device solves its share of the systems if these are small (see
    `jaxmg.plan`); otherwise they are solved one after another, each on all devices.

    With `refine`, `a` is scaled by powers of two and factored in lower precision. Conjugate
    gradients ("pos") or generalised conjugate residuals, preconditioned by this factor, then solve
    for each right-hand side until its backward error is that of a solve in full precision. If
    `info` is 0, x has such a backward error, but "pos" may have accepted a matrix that is
    indefinite or singular within rounding errors. See the documentation on refinement.

    The rows of a device are columns of the transpose, and LU factors the transpose: P A^T = L U.
    Pivots are therefore selected within rows of A, and columns of A are interchanged. Both
    factorisations are right-looking blocked algorithms with look-ahead, on tile columns dealt
    round-robin to the devices (Choi, Dongarra, Ostrouchov, Petitet, Walker, Whaley, "Design and
    implementation of the ScaLAPACK LU, QR, and Cholesky factorization routines", Scientific
    Programming 5, 1996).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import NamedSharding, PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> a = jax.device_put(4 * jnp.eye(n)[::-1], NamedSharding(mesh, P("x", None)))
    >>> x = jaxmg.linalg.solve(a, jnp.ones(n))
    >>> bool((x == 0.25).all())
    True
    """
    routine = _routine(assume_a)
    a, b = as_arrays(("a", a), ("b", b))
    check_square(a)
    check_right_hand_side(a, b)
    ranks, nrhs = ranks_of(a, b), math.prod(b.shape[1:])
    call = make_call(routine, a, ranks, options, count=nrhs)
    x_spec = spec_on(b, call.ranks.mesh)
    placed = placement.place_all(call.ranks, a, b)
    precision = refinement.chosen(options.refine, assume_a, a, nrhs, call)
    static = dict(call=call, x_spec=x_spec, assume_a=assume_a, precision=precision)
    if options.donate:
        x, info, iterations, _ = _solve_in_place(*placed, donate=True, **static)
    else:
        x, info, iterations = _solve(*placed, **static)
    if check:
        with entered(call.ranks):
            _check(info, assume_a)
    x = placement.keep_sharding(x, b)
    if not options.return_info:
        return x
    return (x, info) if options.refine is None else (x, info, iterations)


@takes("tile", "backend", "workspace_limit")
def solve_triangular(
    a, b, trans=0, lower=False, unit_diagonal=False, *, options: Options
) -> jax.Array:
    """Solve a triangular system with a triangle of a matrix, or with a Cholesky factor L.

    With a factor, ``L @ x = b`` whitens: x has covariance I if b has covariance L L^H.
    ``L.conj().T @ x = b`` draws samples whose covariance is the inverse of the factored matrix.

    Parameters
    ----------
    a : (N, N) array or CholeskyFactor
        Matrix with any sharding, only one triangle of which is read, or a factor from `cho_factor`.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with any sharding. The dtypes of `a` and `b` are promoted to the common
        one.
    trans : {0, "N", 1, "T", 2, "C"}
        SciPy's meaning: 0 or "N" for the triangle itself, 1 or "T" for its transpose, 2 or "C" for
        its conjugate transpose. The last two are the same for real matrices.
    lower : bool
        Read the lower triangle of `a`; by default the upper one. Ignored for a factor.
    unit_diagonal : bool
        Use an implicit unit diagonal; the stored one is not read. Not supported for a factor.
    {options}

    Returns
    -------
    x : array
        With the shape and the sharding of `b`; infinite or NaN if a diagonal element is zero. With
        a factor, all NaN if its ``info`` is not 0.

    Raises
    ------
    ValueError
        As `solve` and `cho_solve` do, and if `trans` is unknown, or ``unit_diagonal=True`` is
        passed with a factor.
    TypeError
        If a dtype is not supported.

    Notes
    -----
    Each solve and each derivative redistributes a matrix into tile columns first; a factor is
    already in tile columns. A derivative with respect to the factored matrix needs the derivative
    of L, which costs as much as several factorisations; see `cholesky`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> a = jnp.array([[1.0, 0.0], [2.0, 4.0]])
    >>> jaxmg.linalg.solve_triangular(a, jnp.ones(2), lower=True).tolist()
    [1.0, -0.25]
    >>> factor = jaxmg.linalg.cho_factor(4.0 * jnp.eye(3))
    >>> jaxmg.linalg.solve_triangular(factor, jnp.ones(3)).tolist()
    [0.5, 0.5, 0.5]
    """
    if isinstance(a, CholeskyFactor):
        if unit_diagonal:
            raise ValueError("unit_diagonal=True is not supported for a factor; leave it out")
        return a.solve_triangular(b, trans=trans, **options.named("backend", "workspace_limit"))
    if isinstance(a, (LUFactor, RefinedFactor)):
        kind = type(a).__name__
        raise TypeError(f"a must be a matrix or a CholeskyFactor, got {kind}: use its method solve")
    transposed, conjugated = transposition(trans)
    a, b = as_arrays(("a", a), ("b", b))
    check_square(a)
    check_right_hand_side(a, b)
    ranks, nrhs = ranks_of(a, b), math.prod(b.shape[1:])
    call = make_call("trtrs", a, ranks, options, count=nrhs)
    x = _solve_triangular(
        *placement.place_all(call.ranks, a, b),
        call=call,
        x_spec=spec_on(b, call.ranks.mesh),
        lower=bool(lower),
        unit_diagonal=bool(unit_diagonal),
        transposed=transposed,
        conjugated=conjugated,
    )
    return placement.keep_sharding(x, b)


@takes("return_info", "tile", "backend", "donate", "workspace_limit")
def inv(a, *, assume_a="gen", options: Options):
    """Invert a square matrix.

    Parameters
    ----------
    a : (N, N) array, LUFactor or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
    assume_a : {"gen", "sym", "her", "pos"}
        As for `solve`; ignored for a factor.
    {options}

    Returns
    -------
    x : (N, N) array
        The inverse, with the sharding of `a`. For a factor, it is sharded over rows if they divide
        evenly among the devices. Infinite or NaN if a pivot is zero; with "pos", all NaN if `a` is
        not positive definite.
    info : () int32 array
        Only with ``return_info=True``; see `solve`.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, RuntimeError
        As `solve` does.

    Notes
    -----
    The triangular factors are inverted in tile columns, and the inverses multiplied. For "pos" this
    is A^-1 = L^-H L^-1 (LAPACK's potri). A derivative costs two products of N x N matrices, in
    which each device broadcasts its block of rows.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jaxmg.linalg.inv(jnp.array([[0.0, 2.0], [4.0, 0.0]])).tolist()
    [[0.0, 0.25], [0.5, 0.0]]
    """
    if not isinstance(a, (LUFactor, CholeskyFactor)):
        if _is_positive_definite(assume_a):
            return to_matrix("potri", _inverse_of_positive_definite, a, options)
        return to_matrix("getri", _inverse, a, options)
    x = a.inv(**options.named("backend", "donate", "workspace_limit"))
    return (x, a.info) if options.return_info else x


@takes("tile", "backend", "donate", "workspace_limit")
def slogdet(a, *, assume_a="gen", options: Options) -> SlogdetResult:
    """Return the sign and the logarithm of the absolute value of a determinant.

    Parameters
    ----------
    a : (N, N) array, LUFactor or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
    assume_a : {"gen", "sym", "her", "pos"}
        As for `solve`; ignored for a factor.
    {options}

    Returns
    -------
    sign : () array
        A number of modulus 1, in the dtype of `a`; 0 if a pivot is zero. With "pos" it is 1, or NaN
        if `a` is not positive definite.
    logabsdet : () array
        In the real dtype that corresponds to `a`; minus infinity if a pivot is zero.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, RuntimeError
        As `solve` does.

    Notes
    -----
    A derivative costs one inverse.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> sign, logabsdet = jaxmg.linalg.slogdet(-jnp.eye(3))
    >>> float(sign), float(logabsdet)
    (-1.0, 0.0)
    """
    factor = _as_factor(a, assume_a, options)
    return factor.slogdet(**options.named("backend", "workspace_limit"))


@takes("tile", "backend", "donate", "workspace_limit")
def det(a, *, assume_a="gen", options: Options) -> jax.Array:
    """Return the determinant of a matrix.

    Parameters
    ----------
    a : (N, N) array, LUFactor or CholeskyFactor
        As for `solve`, or the factor of the matrix, whose tile size is used.
    assume_a : {"gen", "sym", "her", "pos"}
        As for `solve`; ignored for a factor.
    {options}

    Returns
    -------
    () array
        In the dtype of `a`; 0 if a pivot is zero. With "pos", NaN if `a` is not positive definite.
        It may overflow or underflow; `slogdet` does not.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, RuntimeError
        As `solve` does.

    Notes
    -----
    A derivative costs one inverse. At a singular matrix the derivative is the adjugate, which is
    finite, as for ``jnp.linalg.det``; it costs one more factorisation. The derivative of the
    determinant of a singular factor is NaN.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> float(jaxmg.linalg.det(jnp.array([[0.0, 2.0], [4.0, 0.0]])))
    -8.0
    """
    given = options.named("backend", "workspace_limit")
    if isinstance(a, LUFactor):
        return a.det(**given)
    if isinstance(a, CholeskyFactor) or _is_positive_definite(assume_a):
        sign, logarithm = _as_factor(a, assume_a, options).slogdet(**given)
        return sign * jnp.exp(logarithm)
    a, call = prepared("getrf", a, options)
    (placed,) = placement.place_all(call.ranks, a)
    if options.donate:
        return _det_in_place(placed, call=call, donate=True)[0]
    return _det(placed, call=call)


# --- programs ---------------------------------------------------------------------------------


@programs.program("x_spec", "assume_a", "precision")
def _solve(a, b, *, call: Call, x_spec, assume_a, precision):
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    if precision is not None:
        low = refinement_rules.factor(call, assume_a == "pos", precision, a)
        return refinement_rules.solve(call, x_spec, False, low, b)
    x, info, _ = _solved(a, b, call, x_spec, assume_a)
    return x, info, _unrefined(b)


@programs.program("x_spec", "assume_a", "precision")
def _solve_in_place(a, b, *, call: Call, x_spec, assume_a, precision):
    # XLA reuses a donated buffer only for a result that aliases it: return the overwritten A.
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    if precision is not None:
        low = refinement_rules.factor(call, assume_a == "pos", precision, a)
        return refinement_rules.solve_in_place(call, x_spec, low, b)
    x, info, rest = _solved(a, b, call, x_spec, assume_a)
    return x, info, _unrefined(b), rest


def _unrefined(b):
    return jnp.full(b.shape[1:], UNREFINED, np.int32)


def _solved(a, b, call: Call, x_spec, assume_a):
    if assume_a == "pos":
        return cholesky_rules.factor_and_solve(call, x_spec, a, b)
    if assume_a in _BY_LU:
        x, info, factors = lu_rules.factor_and_solve(call, x_spec, a, b)
        return x, info, factors.data
    diagonal = row_blocks.diagonal(a, call=call)
    if assume_a == "diagonal":
        divide = programs.auto(_divided, call.ranks, x_spec)
        return divide(b, diagonal), _first_zero(diagonal), a
    lower = assume_a == "lower triangular"
    x, rest = lu_rules.solve_triangular(call, x_spec, lower, False, False, a, b)
    return x, _first_zero(diagonal), rest


def _divided(b, diagonal):
    return b / (diagonal if b.ndim == 1 else diagonal[:, None])


def _first_zero(diagonal):
    """Return the index, from 1, of the first zero element, or 0 if there is none."""
    zero = diagonal == 0
    first = jnp.argmax(jnp.append(zero, True)).astype(np.int32)
    return jnp.where(first == zero.size, np.int32(0), first + np.int32(1))


@programs.program("x_spec", "lower", "unit_diagonal", "transposed", "conjugated")
def _solve_triangular(a, b, *, call: Call, x_spec, lower, unit_diagonal, transposed, conjugated):
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    b = b.conj() if conjugated else b
    which = lower, unit_diagonal, transposed
    x, _ = lu_rules.solve_triangular(call, x_spec, *which, a, b)
    return x.conj() if conjugated else x


@programs.program("spec")
def _inverse(a, *, call: Call, spec):
    factors, info = lu_rules.factor(call, programs.matrix_on_mesh(a, call.ranks))
    x = lu_rules.inverse(call, factors)
    return row_blocks.to_matrix(x, call=call, spec=spec), info


@programs.program("spec")
def _inverse_of_positive_definite(a, *, call: Call, spec):
    factor, info = cholesky_rules.factor(call, programs.matrix_on_mesh(a, call.ranks))
    x = cholesky_rules.inverse(call, factor)
    return row_blocks.to_matrix(x, call=call, spec=spec), info


@programs.program()
def _det(a, *, call: Call):
    return lu_rules.det(call, programs.matrix_on_mesh(a, call.ranks))[0]


@programs.program()
def _det_in_place(a, *, call: Call):
    value, factors = lu_rules.det(call, programs.matrix_on_mesh(a, call.ranks))
    return value, factors.data


# --- argument checks --------------------------------------------------------------------------


def _routine(assume_a) -> str:
    if assume_a not in _ROUTINES:
        raise ValueError(f"assume_a must be one of {tuple(_ROUTINES)}, got {assume_a!r}")
    if _ROUTINES[assume_a] is None:
        raise NotImplementedError(
            f"assume_a={assume_a!r} is not implemented; assume_a='gen' works for any matrix"
        )
    return _ROUTINES[assume_a]


def _is_positive_definite(assume_a) -> bool:
    """Return whether to use Cholesky factorisation, or else LU; fail for other structures."""
    routine = _routine(assume_a)
    if routine not in ("gesv", "potrs"):
        raise NotImplementedError(
            f"assume_a={assume_a!r} is implemented only for solve; assume_a='gen' works for any "
            "matrix"
        )
    return routine == "potrs"


def _as_factor(a, assume_a, options: Options) -> LUFactor | CholeskyFactor:
    if isinstance(a, (LUFactor, CholeskyFactor)):
        return a
    factor = cho_factor if _is_positive_definite(assume_a) else lu_factor
    return factor(a, **options.named("tile", "backend", "donate", "workspace_limit"))


def _check(info, assume_a) -> None:
    if assume_a == "pos":
        reason = "a is not positive definite: the leading minor of order {info} is not positive"
    else:
        reason = "a is singular: pivot {info} of its factorisation is zero"
    checkify.check(info == 0, reason, info=info)
