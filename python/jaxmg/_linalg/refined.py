"""`RefinedFactor`: a matrix with its factor of lower precision, as a reusable pytree."""

import functools
import math
from dataclasses import dataclass, replace

import jax

from jaxmg._arguments import as_array, as_arrays, check_right_hand_side
from jaxmg._linalg import refinement
from jaxmg._linalg.factor import Factor
from jaxmg._linalg.options import Options, make_call, prepared, takes, transposition
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of_blocks
from jaxmg._mesh.ranks import Ranks
from jaxmg._mesh.specs import spec_on
from jaxmg._planning.precision import Precision
from jaxmg._programs.call import Call
from jaxmg._programs.refinement import LowFactor
from jaxmg._rules import refinement as rules

__all__ = ["RefinedFactor", "refined_factor"]

_SMALL = ("pivots", "exponents", "norms", "status")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("a", "data", *_SMALL),
    meta_fields=("n", "tile", "axes", "ranks", "precision"),
)
@dataclass(frozen=True, eq=False)
class RefinedFactor(Factor):
    """A matrix A with its factor of lower precision, from ``cho_factor`` or ``lu_factor``.

    Solves with it are refined to the accuracy of the dtype of A, as by `jaxmg.linalg.solve`. Where
    that fails, each solve factors A in full precision. An immutable pytree, like
    `jaxmg.linalg.CholeskyFactor`. In its tangent and cotangent, the field `a` holds the tangent
    and cotangent of A.

    Attributes
    ----------
    a : (N, N) array
        A itself, not copied.
    data : (P * ceil(N / P), N) array
        The factor of the scaled matrix, in tile columns dealt to the P ranks; sharded over rows.
    pivots : (N,) int32 array or None
        Row interchanges of LU; None for a Cholesky factor.
    exponents : (2, N) int32 array
        Row i and column j of A have been multiplied by 2 to the power ``exponents[0, i]`` and
        ``exponents[1, j]``.
    norms : (2,) array
        Norms of the scaled matrix: the largest sum of magnitudes in a row, and in a column.
    status : () int32 array
        0, or why every solve will factor A in full precision: -2 or -3, as in the `iterations` of
        `jaxmg.linalg.solve`.
    n, tile : int
        Order of A, width of the tile columns.
    axes : tuple of str
        Mesh axes over which rows are sharded; empty on one device outside any mesh.
    ranks : int
        P, the number of devices along `axes`.
    precision : str
        The argument `refine`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> with jax.enable_x64(True):
    ...     factor = jaxmg.linalg.cho_factor(4 * jnp.eye(3), refine="float32")
    ...     x, info, iterations = factor.solve(jnp.ones(3), return_info=True)
    >>> x.tolist(), int(info), int(iterations)
    ([0.25, 0.25, 0.25], 0, 1)
    """

    a: jax.Array
    data: jax.Array
    pivots: jax.Array | None
    exponents: jax.Array
    norms: jax.Array
    status: jax.Array
    n: int
    tile: int
    axes: tuple[str, ...]
    ranks: int
    precision: str

    @classmethod
    def of(cls, low: LowFactor, ranks: Ranks) -> "RefinedFactor":
        """Return the result of a factorisation on `ranks` as a pytree."""
        small = (getattr(low, name) for name in _SMALL)
        n, name = low.data.shape[1], low.precision.name
        return cls(low.a, low.data, *small, n, low.tile, ranks.axes, ranks.size, name)

    @property
    def dtype(self):
        return self.a.dtype

    def to_mesh(self, mesh):
        """Return the factor with its contents on `mesh`; see `jaxmg.linalg.CholeskyFactor`."""
        small = {name: getattr(self, name) for name in _SMALL}
        put = functools.partial(placement.put_blocks, mesh, self.axes, self.ranks)
        data, small = put(self.data, small)
        rows = self.data.shape[0]
        a, _ = put(programs.pad_rows_to(self.a, rows), ())
        return replace(self, a=a, data=data, **small)

    @takes("return_info", "backend", "workspace_limit")
    def solve(self, b, *, trans=0, options: Options):
        """Solve with A, A^T or A^H; see `jaxmg.linalg.lu_solve`.

        With ``return_info=True``, return (x, info, iterations) as `jaxmg.linalg.solve` does.
        """
        transposed, conjugated = transposition(trans)
        positive = self.pivots is None
        if positive:  # A^T = conj(A), and A^H = A.
            transposed, conjugated = False, transposed and not conjugated
        a, b = as_arrays(("factor.a", self.a), ("b", b))
        if a.dtype != self.a.dtype:
            raise TypeError(
                f"b must not have a wider dtype than the refined factor, {self.a.dtype}; got "
                f"{b.dtype}: solve for its real and imaginary parts, or factor a wider matrix"
            )
        check_right_hand_side(self, b)
        data = as_array(self.data, "factor.data")
        ranks = ranks_of_blocks(data, self.axes, self.ranks, b)
        routine, count = "potrs" if positive else "gesv", math.prod(b.shape[1:])
        call = make_call(routine, a, ranks, options, count=count)
        x_spec = spec_on(b, call.ranks.mesh)
        gather = self.ranks == 1
        data, placed = placement.place_all(call.ranks, data, b, gather=gather)
        (a,) = placement.place_all(call.ranks, a)
        small = (
            None if copy is None else placement.place_scalar(copy, call.ranks, data)
            for copy in (getattr(self, name) for name in _SMALL)
        )
        low = LowFactor(a, data, *small, self.tile, Precision(self.precision))
        static = dict(call=call, x_spec=x_spec, transposed=transposed, conjugated=conjugated)
        x, info, iterations = _solve(low, placed, **static)
        x = placement.keep_sharding(x, b)
        return (x, info, iterations) if options.return_info else x


def refined_factor(a, assume_a: str, options: Options) -> RefinedFactor:
    """Factor a matrix by Cholesky ("pos") or LU in the precision ``options.refine``."""
    if options.donate:
        raise ValueError("donate=True is not supported with refine: the factor keeps a")
    a, call = prepared("cho_factor" if assume_a == "pos" else "getrf", a, options)
    if a.size == 0:
        raise ValueError("refine is not supported for a matrix of order 0; leave it out")
    precision = refinement.of_factor(options.refine, assume_a, a, call)
    (placed,) = placement.place_all(call.ranks, a)
    low = _factor(placed, call=call, positive=assume_a == "pos", precision=precision)
    return RefinedFactor.of(replace(low, a=placed), call.ranks)


# --- programs ---------------------------------------------------------------------------------


@programs.program("positive", "precision")
def _factor(a, *, call: Call, positive: bool, precision: Precision):
    low = rules.factor(call, positive, precision, programs.matrix_on_mesh(a, call.ranks))
    return replace(low, a=None)  # A result would be a copy.


@programs.program("x_spec", "transposed", "conjugated")
def _solve(low: LowFactor, b, *, call: Call, x_spec, transposed, conjugated):
    a, b = programs.matrix_on_mesh(low.a, call.ranks), programs.on_mesh(b, call.ranks)
    b = b.conj() if conjugated else b
    x, info, iterations = rules.solve(call, x_spec, transposed, replace(low, a=a), b)
    return x.conj() if conjugated else x, info, iterations
