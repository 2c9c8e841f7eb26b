"""QR factorisations: `qr`, and `QRFactor`, a factorisation as a reusable pytree."""

import functools
import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmg._arguments import ArgumentError, as_arrays, as_matrix
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of, ranks_of_blocks
from jaxmg._mesh.ranks import Ranks, row_spec
from jaxmg._mesh.specs import even_spec, spec_on
from jaxmg._programs import qr as routines
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import DealtQR
from jaxmg._rules import qr as rules

__all__ = ["QRFactor", "QRResult", "qr", "qr_factor"]


class QRResult(NamedTuple):
    """Q and R, with the field names of ``jnp.linalg.qr``."""

    Q: jax.Array
    R: jax.Array


@takes("tile", "backend", "donate", "workspace_limit")
def qr(a, mode="reduced", *, options: Options):
    """QR factorisation ``a = q @ r`` of a matrix sharded over several devices.

    Parameters
    ----------
    a : (M, N) array
        float32, float64, complex64 or complex128, of any rank. Sharded over rows, columns or both,
        replicated, or on one device; mesh and sharding are read off the array.
    mode : {"reduced", "r"}
        "r" returns only R, in half the time.
    {options}

    Returns
    -------
    q : (M, K) array
        Orthonormal columns, K = min(M, N).
    r : (K, N) array
        Upper triangular (trapezoidal if M < N). Its diagonal is real, with the signs that LAPACK
        gives it: an element is negative if the element that it replaces was positive. Both results
        have the sharding of `a` where it divides them evenly, else rows are sharded if they divide
        evenly.

    Raises
    ------
    ValueError
        If `a` is not a matrix, `mode` is unknown, `tile` or `workspace_limit` is below 1, or
        `backend` is unknown or does not support this call.
    TypeError
        If the dtype is not supported.
    RuntimeError
        If the native library for the devices' platform, or that of `backend`, cannot be loaded.

    Notes
    -----
    Columns of `a` are dealt to the devices in tiles, by one all-to-all. The owner of a tile factors
    it by Householder reflectors, and broadcasts them as one block reflector I - V T V^H, which all
    devices apply to their later columns (Schreiber and Van Loan, "A storage-efficient WY
    representation for products of Householder transformations", SIAM J. Sci. Stat. Comput. 10,
    1989). Q is orthonormal to rounding errors for every matrix, also if it is singular. NaN and
    infinity propagate.

    Derivatives require M >= N and full rank, as for ``jnp.linalg.qr``. ``vmap`` factors matrices
    one after another, each on all devices.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> q, r = jaxmg.linalg.qr(jnp.array([[3.0, 1.0], [4.0, 2.0]]))
    >>> float(r[0, 0]), bool(jnp.allclose(q @ r, jnp.array([[3.0, 1.0], [4.0, 2.0]])))
    (-5.0, True)
    """
    if mode not in ("reduced", "r"):
        raise ValueError(f'mode must be "reduced" or "r", got {mode!r}')
    a, call = _prepared("geqrf" if mode == "r" else "orgqr", a, options)
    return factored(a, call, mode, options.donate)


def factored(a, call: Call, mode: str, donate: bool):
    """Return the result of `qr` for a checked matrix."""
    (m, n), ranks = a.shape, call.ranks
    shapes = {"r": (min(m, n), n)} | ({"q": (m, min(m, n))} if mode == "reduced" else {})
    specs = {name: result_spec(a, shape, ranks) for name, shape in shapes.items()}
    # XLA reuses a donated buffer only for a result of the same shape.
    donate = donate and a.shape in shapes.values()
    placed = placement.place_matrix(ranks, a)
    program = _decompose if mode == "reduced" else _upper
    results = program(placed, call=call, specs=tuple(specs.values()), donate=donate)
    results = dict(zip(shapes, results, strict=True))
    kept = {name: placement.keep_even_sharding(x, a) for name, x in results.items()}
    return kept["r"] if mode == "r" else QRResult(kept["q"], kept["r"])


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("data", "factors", "info"),
    meta_fields=("m", "n", "tile", "axes", "ranks"),
)
@dataclass(frozen=True, eq=False)
class QRFactor:
    """QR factor of an M x N matrix A = Q R, from `jaxmg.linalg.qr_factor`.

    An immutable pytree, like `jaxmg.linalg.LUFactor`: it may cross ``jit``, be carried through
    ``lax.scan``, donated, pickled and saved. It holds no mesh: calls use the mesh of `data`, which
    must have as many ranks along `axes` as the mesh it was made on. After loading a factor from a
    file, put it on a mesh (`to_mesh`). It has no derivative with respect to A; products and
    solutions are differentiable in their operand.

    Attributes
    ----------
    data : (P * ceil(N / P), M) array
        R and the Householder vectors, in tile columns dealt to the P ranks; sharded over rows. The
        order of the elements is unspecified.
    factors : (P * ceil(N / P), tile) array
        Triangular factors of the block reflectors.
    info : () int32 array
        0, or the number, from 1, of the first diagonal element of R that is exactly zero.
    m, n, tile : int
        Shape of A, width of the tile columns.
    axes : tuple of str
        Mesh axes over which rows are sharded; empty on one device outside any mesh.
    ranks : int
        P, the number of devices along `axes`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.qr_factor(jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]))
    >>> factor.solve(jnp.array([1.0, 3.0, 5.0])).round(6).tolist()
    [1.0, 2.0]
    """

    data: jax.Array
    factors: jax.Array
    info: jax.Array
    m: int
    n: int
    tile: int
    axes: tuple[str, ...]
    ranks: int

    _replicated: ClassVar[tuple[str, ...]] = ("info",)

    @property
    def shape(self) -> tuple[int, int]:
        return self.m, self.n

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.data.dtype)

    def to_mesh(self, mesh):
        """Return the factor with its contents on `mesh`, for example after loading it from a file.

        The mesh must have as many devices along `axes` as the mesh the factor was made on.
        """
        put = functools.partial(placement.put_blocks, mesh, self.axes, self.ranks)
        (data, info), (factors, _) = put(self.data, self.info), put(self.factors, self.info)
        return replace(self, data=data, factors=factors, info=info)

    @takes("backend", "workspace_limit")
    def q_matmul(self, b, *, _mesh=None, options: Options):
        """Return ``Q @ b`` for the square Q of order M, which is not formed.

        `b` is (M,) or (M, K), with any sharding. To multiply by the first N columns of Q only,
        append zeros to N rows.
        """
        return self._apply(_times_q, b, self.m, options, _mesh, adjoint=False)

    @takes("backend", "workspace_limit")
    def qh_matmul(self, b, *, _mesh=None, options: Options):
        """Return ``Q.conj().T @ b`` for the square Q of order M, which is not formed.

        `b` is (M,) or (M, K), with any sharding.
        """
        return self._apply(_times_q, b, self.m, options, _mesh, adjoint=True)

    @takes("backend", "workspace_limit")
    def r(self, *, options: Options):
        """Return R, min(M, N) x N; its rows are sharded if they divide evenly."""
        of, call = self._prepared(options, None)
        spec = row_spec(min(self.m, self.n), call.ranks)
        return _r(of, call=call, spec=spec)

    @takes("backend", "workspace_limit")
    def solve(self, b, *, adjoint=False, _mesh=None, options: Options):
        """Return the x that minimises the norm of ``A @ x - b``, for M >= N and a full rank.

        With ``adjoint=True``, return the x of least norm with ``A.conj().T @ x = b``. x has the
        sharding of `b` where it divides x evenly; infinite or NaN if `info` is not 0.
        """
        if self.m < self.n:
            raise ValueError(
                f"solve requires at least as many rows as columns, got a factor of {self.m} x "
                f"{self.n}: factor the adjoint, and solve with adjoint=True"
            )
        rows = self.n if adjoint else self.m
        return self._apply(_solve, b, rows, options, _mesh, adjoint=bool(adjoint))

    def _apply(self, program, b, rows: int, options: Options, mesh, **static):
        data, factors, b = as_arrays(
            ("factor.data", self.data), ("factor.factors", self.factors), ("b", b)
        )
        if b.ndim not in (1, 2):
            raise ArgumentError(f"b must be a 1D or 2D array, got shape {b.shape}")
        if b.shape[0] != rows:
            raise ArgumentError(f"b must have {rows} rows, got shape {b.shape}")
        converted = replace(self, data=data, factors=factors)
        of, call = converted._prepared(options, mesh, b)
        spec = spec_on(b, call.ranks.mesh)
        if program is _solve:
            shape = (self.m if static["adjoint"] else self.n, *b.shape[1:])
            spec = result_spec(b, shape, call.ranks)
        placed = placement.place_beside(call.ranks, of.data, b)
        x = program(of, placed, call=call, spec=spec, **static)
        return placement.keep_even_sharding(x, b)

    def _prepared(self, options: Options, mesh, *b):
        """Return the contents on their ranks, and the parameters of a call that reads them."""
        rows = self.ranks * -(-self.n // self.ranks)
        if self.data.shape != (rows, self.m):
            raise ArgumentError(
                f"a factor of {self.m} x {self.n} on {self.ranks} ranks must have contents of "
                f"shape {(rows, self.m)}, but factor.data has shape {self.data.shape}; use vmap "
                "for a batch"
            )
        ranks = ranks_of_blocks(self.data, self.axes, self.ranks, *b, mesh=mesh)
        count = math.prod(b[0].shape[1:]) if b else 1
        call = make_call("gels", self.data.T, ranks, options, count=count)
        data = placement.place_matrix(ranks, self.data)
        factors = placement.place_matrix(ranks, self.factors)
        return DealtQR(data, factors, self.n, self.tile), call


@takes("tile", "backend", "workspace_limit")
def qr_factor(a, *, options: Options) -> QRFactor:
    """Factor a matrix by Householder reflectors into a reusable factor.

    Parameters
    ----------
    a : (M, N) array
        As for `qr`.
    {options}

    Returns
    -------
    QRFactor
        A pytree with the methods `q_matmul` and `qh_matmul`, which multiply by Q and its adjoint
        without forming Q, `r`, and `solve` for least squares.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `qr` does; ValueError also if `a` is empty.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.qr_factor(jnp.array([[3.0], [4.0]]))
    >>> factor.qh_matmul(jnp.array([3.0, 4.0])).round(6).tolist()
    [-5.0, 0.0]
    """
    a, call = _prepared("geqrf", a, options)
    if a.size == 0:
        raise ArgumentError(f"a must not be empty, got shape {a.shape}")
    m, n = a.shape
    of, info = _factor(placement.place_matrix(call.ranks, a), call=call)
    ranks = call.ranks
    return QRFactor(of.data, of.factors, info, m, n, of.tile, ranks.axes, ranks.size)


def _prepared(routine: str, a, options: Options):
    """Return a checked m x n matrix, and the call of a routine on its devices."""
    a = as_matrix(a)
    return a, make_call(routine, a, ranks_of(a), options)


def result_spec(like, shape, ranks: Ranks):
    """Return the spec of a result: that of `like` where it divides evenly, else of its rows."""
    spec = spec_on(like, ranks.mesh)
    spec = None if spec is None else even_spec(spec, shape, ranks.mesh)
    return row_spec(shape[0], ranks) if spec is None and len(shape) == 2 else spec


# --- programs ---------------------------------------------------------------------------------


@programs.program("specs")
def _decompose(a, *, call: Call, specs):
    (m, n), (r_spec, q_spec) = a.shape, specs
    if a.size == 0:
        return _empty(a, call, (min(m, n), n), r_spec), _empty(a, call, (m, min(m, n)), q_spec)
    q, r = rules.decompose(call, programs.matrix_on_mesh(a, call.ranks))
    r = routines.to_matrix(r, min(m, n), call=call, spec=r_spec)
    return r, routines.to_matrix(q, m, call=call, spec=q_spec)


@programs.program("specs")
def _upper(a, *, call: Call, specs):
    (m, n), (spec,) = a.shape, specs
    if a.size == 0:
        return (_empty(a, call, (min(m, n), n), spec),)
    r = rules.upper(call, programs.matrix_on_mesh(a, call.ranks))
    return (routines.to_matrix(r, min(m, n), call=call, spec=spec),)


def _empty(a, call: Call, shape, spec):
    """Return a result without elements."""
    # The sum of nothing, for JAX drops operands that are not read, and their devices.
    return programs.auto(lambda a: jnp.zeros(shape, a.dtype) + jnp.sum(a), call.ranks, spec)(a)


@programs.program()
def _factor(a, *, call: Call):
    a = programs.matrix_on_mesh(a, call.ranks)
    return rules.factor(call, routines.turned(a, call=call))


@programs.program("spec", "adjoint")
def _times_q(of: DealtQR, b, *, call: Call, spec, adjoint):
    return rules.times_q(call, spec, adjoint, of, programs.on_mesh(b, call.ranks))


@programs.program("spec", "adjoint")
def _solve(of: DealtQR, b, *, call: Call, spec, adjoint):
    b, m = programs.on_mesh(b, call.ranks), of.data.shape[1]
    if adjoint:
        y = rules.divide_by_r(call, None, True, of, b)
        padding = ((0, m - of.n),) + ((0, 0),) * (b.ndim - 1)
        y = programs.auto(lambda y: jnp.pad(y, padding), call.ranks, None)(y)
        return rules.times_q(call, spec, False, of, y)
    y = rules.times_q(call, None, True, of, b)
    y = programs.auto(lambda y: y[: of.n], call.ranks, None)(y)
    return rules.divide_by_r(call, spec, False, of, y)


@programs.program("spec")
def _r(of: DealtQR, *, call: Call, spec):
    r = routines.turned_back(routines.upper(of, call=call), of.n, call=call)
    return routines.to_matrix(r, min(of.data.shape[1], of.n), call=call, spec=spec)
