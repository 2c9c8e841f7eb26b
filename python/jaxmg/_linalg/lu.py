"""LU factors of general matrices: made once, used for many things, carried anywhere."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax

from jaxmg._linalg.factor import Factor
from jaxmg._linalg.factors import SlogdetResult
from jaxmg._linalg.options import Options, prepared, takes
from jaxmg._mesh import placement, programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt, DealtLU
from jaxmg._rules import lu as rules

__all__ = ["LUFactor", "lu_factor", "lu_solve", "transposition"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("data", "pivots", "info"),
    meta_fields=("n", "tile", "axes", "ranks"),
)
@dataclass(frozen=True, eq=False)
class LUFactor(Factor):
    """The factors L and U of a square matrix A; `jaxmg.linalg.lu_factor` makes it.

    They are those of the transpose, P A^T = L U, with row interchanges P such that no element of L
    exceeds 1 in absolute value (partial pivoting): each device has its rows of A, which are columns
    of A^T.

    An immutable pytree, like `jaxmg.linalg.CholeskyFactor`: it may cross ``jit``, be carried
    through ``lax.scan``, donated, pickled and saved. It holds no mesh: the mesh is that of `data`
    where the factor is used, which is to have as many ranks along `axes` as the one it was made on.
    What is read from a file has to be put on one first (`to_mesh`).

    Attributes
    ----------
    data : (P * ceil(N / P), N) array
        L and U as they were computed, in tile columns dealt to the P ranks; sharded over rows. The
        elements are in no order to rely on. The tangent and the cotangent of a factor are those of
        A, in rows.
    pivots : (N,) int32 array
        Row i of A^T was interchanged with row ``pivots[i]``, for i = 0, 1, ...
    info : () int32 array
        0, or the number (from 1) of the first pivot that is exactly zero: A is singular.
    n, tile : int
        Order of A, width of the tile columns.
    axes : tuple of str
        The mesh axes over which rows are sharded; empty on one device outside any mesh.
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
        """Return what the programs have made on `ranks` as a value."""
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
        """Return the determinant of A, with a derivative that is NaN where it is 0.

        `jaxmg.linalg.det` of the matrix has a finite one.
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


@takes("tile", "backend", "donate", "workspace_limit")
def lu_factor(a, *, options: Options):
    """Factor a square matrix by LU with partial pivoting, to use the factor many times.

    Parameters
    ----------
    a : (N, N) array
        As for `solve`.
    {options}

    Returns
    -------
    LUFactor
        A pytree with the methods `solve`, `inv`, `det`, `slogdet` and `logabsdet`, for `lu_solve`
        and the other functions here. They keep to its tile size. Its attribute `info` is LAPACK's,
        and not 0 if a pivot is exactly zero: solutions are then infinite or NaN.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `solve` does.

    Notes
    -----
    ``jax.scipy.linalg.lu_factor`` returns (lu, pivots) instead, of A where this is of A^T.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.lu_factor(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> jaxmg.linalg.lu_solve(factor, jnp.ones(2), trans=1).tolist()
    [0.5, 0.25]
    """
    a, call = prepared("getrf", a, options)
    factors, info = _factor(*placement.place_all(call.ranks, a), call=call, donate=options.donate)
    return LUFactor.of(factors, info, call.ranks)


@takes("backend", "workspace_limit")
def lu_solve(factor, b, trans=0, *, options: Options):
    """Solve ``a @ x = b``, ``a.T @ x = b`` or ``a.conj().T @ x = b`` with the LU factor of `a`.

    Parameters
    ----------
    factor : LUFactor
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
        If the shapes do not fit, `trans` is unknown, the mesh is not one like the factor was made
        on, or `b` lives on several devices other than those of a factor that is on several.
    TypeError
        If the dtype of `b` is not supported, or `factor` is no `LUFactor`.

    Notes
    -----
    Row interchanges and substitution over the tile columns, which stay where they are: `b` is moved
    to them, and x to where `b` is. Derivatives and ``vmap`` are as for `solve`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.lu_factor(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> jaxmg.linalg.lu_solve(factor, jnp.ones((2, 3))).shape
    (2, 3)
    """
    if not isinstance(factor, LUFactor):
        raise TypeError(
            f"factor must be an LUFactor, as lu_factor makes it; got {type(factor).__name__}"
        )
    return factor.solve(b, trans=trans, **options.named("backend", "workspace_limit"))


# SciPy's trans: whether a matrix is transposed, and whether it is conjugated.
_TRANS = {
    0: (False, False),
    "N": (False, False),
    1: (True, False),
    "T": (True, False),
    2: (True, True),
    "C": (True, True),
}


def transposition(trans) -> tuple[bool, bool]:
    """Return (transposed, conjugated) of the argument `trans`, checked."""
    if trans not in _TRANS:
        raise ValueError(f"trans must be one of {tuple(_TRANS)}, got {trans!r}")
    return _TRANS[trans]


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
