"""`LUFactor`: an LU factorisation as a reusable pytree."""

import functools
from dataclasses import dataclass
from typing import ClassVar, overload

import jax

from jaxmg._linalg.factor import Factor
from jaxmg._linalg.factors import SlogdetResult
from jaxmg._linalg.options import Options, prepared, takes, transposition
from jaxmg._linalg.refined import RefinedFactor, refined_factor
from jaxmg._mesh import placement, programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt, DealtLU
from jaxmg._rules import lu as rules

__all__ = ["LUFactor", "lu_factor", "lu_solve"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("data", "pivots", "info"),
    meta_fields=("n", "tile", "axes", "ranks"),
)
@dataclass(frozen=True, eq=False)
class LUFactor(Factor):
    """LU factors of a square matrix A, from `jaxmg.linalg.lu_factor`.

    The rows of A on each device are columns of A^T, and the transpose is factored: P A^T = L U. The
    row interchanges P come from partial pivoting: no element of L exceeds 1 in absolute value.

    An immutable pytree, like `jaxmg.linalg.CholeskyFactor`: it may cross ``jit``, be carried
    through ``lax.scan``, donated, pickled and saved. It holds no mesh: calls use the mesh of
    `data`, which must have as many ranks along `axes` as the mesh it was made on. After loading a
    factor from a file, put it on a mesh (`to_mesh`).

    Attributes
    ----------
    data : (P * ceil(N / P), N) array
        L and U as computed, in tile columns dealt to the P ranks; sharded over rows. The order of
        the elements is unspecified. The tangent and the cotangent of a factor are the tangent and
        cotangent of A, in rows.
    pivots : (N,) int32 array
        Row i of A^T was interchanged with row ``pivots[i]``, for i = 0, 1, ...
    info : () int32 array
        0, or the number, from 1, of the first pivot that is exactly zero: A is singular.
    n, tile : int
        Order of A, width of the tile columns.
    axes : tuple of str
        Mesh axes over which rows are sharded; empty on one device outside any mesh.
    ranks : int
        P, the number of devices along `axes`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.lu_factor(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> factor.solve(jnp.ones(2)).tolist(), float(factor.det())
    ([0.25, 0.5], -8.0)
    """

    data: jax.Array
    pivots: jax.Array
    info: jax.Array
    n: int
    tile: int
    axes: tuple[str, ...]
    ranks: int

    _replicated: ClassVar[tuple[str, ...]] = ("pivots", "info")
    _read: ClassVar[tuple[str, ...]] = ("pivots",)

    @classmethod
    def of(cls, factors: DealtLU, info, ranks: Ranks) -> "LUFactor":
        """Return the result of a factorisation on `ranks` as a pytree."""
        data, pivots = factors.data, factors.pivots
        return cls(data, pivots, info, data.shape[1], factors.tile, ranks.axes, ranks.size)

    @takes("backend", "workspace_limit")
    def solve(self, b, *, trans=0, _mesh=None, options: Options):
        """Solve with A, A^T or A^H; see `jaxmg.linalg.lu_solve`."""
        transposed, conjugated = transposition(trans)
        static = dict(transposed=transposed, conjugated=conjugated)
        return self._apply("getrs", _solve, b, options, _mesh, **static)

    @takes("backend", "donate", "workspace_limit")
    def inv(self, *, options: Options):
        """Return the inverse of A; see `jaxmg.linalg.inv`."""
        return self._matrix("getri", _inverse, options)

    @takes("backend", "workspace_limit")
    def det(self, *, options: Options):
        """Return the determinant of A. Its derivative is NaN if A is singular.

        The derivative of `jaxmg.linalg.det` of a matrix is finite.
        """
        return self._scalars("getrf", _determinant, options)

    @takes("backend", "workspace_limit")
    def slogdet(self, *, options: Options):
        """Return (sign, logarithm) of the determinant of A; see `jaxmg.linalg.slogdet`."""
        return SlogdetResult(*self._scalars("getrf", _slogdet, options))

    @takes("backend", "workspace_limit")
    def logabsdet(self, *, options: Options):
        """Return the logarithm of the absolute value of the determinant of A."""
        return self.slogdet(**options.named("backend", "workspace_limit")).logabsdet


@overload
def lu_factor(a, *, refine: None = None, **options) -> LUFactor: ...
@overload
def lu_factor(a, *, refine: str, **options) -> LUFactor | RefinedFactor: ...
@takes("tile", "backend", "donate", "refine", "workspace_limit")
def lu_factor(a, *, options: Options) -> LUFactor | RefinedFactor:
    """Factor a square matrix by LU with partial pivoting into a reusable factor.

    Parameters
    ----------
    a : (N, N) array
        As for `solve`.
    {options}

    Returns
    -------
    LUFactor or RefinedFactor
        A pytree with the methods `solve`, `inv`, `det`, `slogdet` and `logabsdet`, accepted by
        `lu_solve` and the other functions here. They use its tile size. Its attribute `info` is
        LAPACK's; if it is not 0, a pivot is exactly zero, and solutions are infinite or NaN. With
        `refine`, a `RefinedFactor` that keeps `a`, only for solves with `a`, its transpose and its
        adjoint. This function does not use ``jaxmg.config.refine``.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does, and if `donate` is passed with `refine`.

    Notes
    -----
    ``jax.scipy.linalg.lu_factor`` returns the pair (lu, pivots) of A; this factors A^T.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.lu_factor(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> jaxmg.linalg.lu_solve(factor, jnp.ones(2), trans=1).tolist()
    [0.5, 0.25]
    """
    if options.refine not in (None, "off"):
        return refined_factor(a, "gen", options)
    a, call = prepared("getrf", a, options)
    factors, info = _factor(*placement.place_all(call.ranks, a), call=call, donate=options.donate)
    return LUFactor.of(factors, info, call.ranks)


@takes("backend", "workspace_limit")
def lu_solve(factor, b, trans=0, *, options: Options) -> jax.Array:
    """Solve ``a @ x = b``, ``a.T @ x = b`` or ``a.conj().T @ x = b`` with the LU factor of `a`.

    Parameters
    ----------
    factor : LUFactor or RefinedFactor
        From `lu_factor`.
    b : (N,) or (N, nrhs) array
        Right-hand sides, with any sharding. The dtypes of factor and `b` are promoted to the common
        one.
    trans : {0, "N", 1, "T", 2, "C"}
        SciPy's meaning: 0 or "N" for `a`, 1 or "T" for its transpose, 2 or "C" for its conjugate
        transpose.
    {options}

    Returns
    -------
    x : array
        The solution, with the shape and the sharding of `b`; infinite or NaN if ``factor.info`` is
        not 0.

    Raises
    ------
    ValueError
        If the shapes do not match, `trans` is unknown, the mesh does not match the mesh of the
        factor, or `b` and the factor are both on several devices but on different ones.
    TypeError
        If the dtype of `b` is not supported, or `factor` is not an `LUFactor`.

    Notes
    -----
    Row interchanges and substitution over the tile columns, which are not moved: `b` is moved to
    their devices, and x to the devices of `b`. Derivatives and ``vmap`` are as for `solve`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.lu_factor(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> jaxmg.linalg.lu_solve(factor, jnp.ones((2, 3))).shape
    (2, 3)
    """
    by_lu = isinstance(factor, RefinedFactor) and factor.pivots is not None
    if not (by_lu or isinstance(factor, LUFactor)):
        raise TypeError(f"factor must be an LUFactor, from lu_factor; got {type(factor).__name__}")
    return factor.solve(b, trans=trans, **options.named("backend", "workspace_limit"))


# --- programs ---------------------------------------------------------------------------------


@programs.program()
def _factor(a, *, call: Call):
    return rules.factor(call, programs.matrix_on_mesh(a, call.ranks))


@programs.program("x_spec", "transposed", "conjugated")
def _solve(dealt: Dealt, pivots, b, *, call: Call, x_spec, transposed, conjugated):
    b = programs.on_mesh(b, call.ranks)
    b = b.conj() if conjugated else b
    x = rules.solve(call, x_spec, transposed, _factors(dealt, pivots), b)
    return x.conj() if conjugated else x


@programs.program("spec")
def _inverse(dealt: Dealt, pivots, *, call: Call, spec):
    x = rules.inverse(call, _factors(dealt, pivots))
    return row_blocks.to_matrix(x, call=call, spec=spec)


@programs.program()
def _determinant(dealt: Dealt, pivots, *, call: Call):
    return rules.determinant(call, _factors(dealt, pivots))


@programs.program()
def _slogdet(dealt: Dealt, pivots, *, call: Call):
    return rules.slogdet(call, _factors(dealt, pivots))


def _factors(dealt: Dealt, pivots) -> DealtLU:
    return DealtLU(dealt.data, pivots, dealt.tile)
