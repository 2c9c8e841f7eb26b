"""Programs of the eigensolver: global arrays in, global arrays out.

JAX's rows of A, read column-major, are columns of ``A.T = conj(A)``. With A = V W V^H, the
eigenvectors of conj(A) are the columns of conj(V). Read row-major, the native code's columns are
therefore the rows of Z = V^H, in row blocks (see `cholesky`). If columns of V are requested, it
transposes them locally. They come in blocks of ceil(k / P) columns on each rank, zero from column
k on.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs, varying
from jaxmg._native import ffi
from jaxmg._native.ffi import BACKWARD, FORWARD
from jaxmg._programs import cholesky, row_blocks
from jaxmg._programs.batching import batchable
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt

# The triangle of a matrix that is read.
UPPER, LOWER = range(2)


@dataclass(frozen=True)
class Part:
    """A range of eigenvalues or eigenvectors: `count` from index `first` on, in ascending order."""

    first: int
    count: int

    def of(self, w):
        """Return the range of an array of all eigenvalues."""
        return w[self.first : self.first + self.count]


class Aside(NamedTuple):
    """Auxiliary results of the eigensolver, constants under differentiation.

    `spectrum` is all eigenvalues. `rest` is the overwritten A: XLA reuses a donated buffer only for
    a result that aliases it.
    """

    info: jax.Array
    spectrum: jax.Array
    rest: jax.Array


def eigh(matrices, *, call: Call, uplo: int, part: Part, as_columns: bool):
    """Decompose A, or A with respect to B, for `matrices` (A,), (A, B) or (A, factor of B).

    Only the triangle `uplo` of matrices is read. Return (w, vectors, aside): the eigenvalues of
    `part`, their columns of V or rows of Z, and the auxiliary results.
    """
    (vectors,), aside = _decomposed(matrices, (), call, uplo, part, as_columns)
    return part.of(aside.spectrum), vectors, aside


def eigh_between(matrices, bounds, *, call: Call, uplo: int, size: int, as_columns: bool):
    """Decompose as `eigh` does, restricted to the eigenvalues in (bounds[0], bounds[1]].

    Return (w, vectors, count, aside): `size` eigenvalues (NaN beyond `count`), min(size, N)
    eigenvectors (zero beyond `count`), and the number of eigenvalues in the interval.
    """
    part = Part(0, min(size, matrices[0].shape[1]))
    (vectors, found), aside = _decomposed(matrices, (bounds,), call, uplo, part, as_columns)
    count = jnp.where(aside.info == 0, found[1], 0)
    return values_between(aside.spectrum, found[0], count, size), vectors, count, aside


def between(w, bounds):
    """Return the index of the first eigenvalue between the bounds, and their number."""
    low, high = bounds
    count = jnp.sum((w > low) & (w <= high), dtype=np.int32)
    return jnp.sum(w <= low, dtype=np.int32), count


def values_between(w, first, count, size: int):
    """Return `count` eigenvalues from index `first` on, padded with NaN to `size` elements."""
    if w.size == 0:
        return jnp.pad(w, (0, size), constant_values=jnp.nan)
    place = jnp.arange(size, dtype=np.int32)
    values = w.at[first + place].get(mode="fill", fill_value=jnp.nan)
    return jnp.where(place < count, values, jnp.nan)


def eigvals(matrices, *, call: Call, uplo: int, part: Part):
    """Return (w, aside) as `eigh` does."""
    a, *b = matrices
    not_definite = None
    if b:
        call = call.in_rows()
        a, _, not_definite = _reduced(a, *b, call=call, uplo=uplo)
        uplo = UPPER
    _, aside = _syevd(a, call=call, uplo=uplo, wanted=Part(0, 0))
    return part.of(aside.spectrum), with_info_of_b(aside, not_definite)


def _decomposed(matrices, bounds, call: Call, uplo: int, part: Part, as_columns: bool):
    """Return ((vectors, [found]), aside) of the standard or the generalised problem."""
    a, *b = matrices
    if not b:
        return _syevd(a, *bounds, call=call, uplo=uplo, wanted=part, as_columns=as_columns)
    call = call.in_rows()
    a, factor, not_definite = _reduced(a, *b, call=call, uplo=uplo)
    (z, *found), aside = _syevd(a, *bounds, call=call, uplo=UPPER, wanted=part)
    # The eigenvectors of C are Y = L^H V, so V^H = Y^H L^-1.
    vectors = cholesky.potrs_rows(factor, z, call=call, sweeps=BACKWARD)
    if as_columns:
        vectors = row_blocks.adjoint_columns(vectors, call=call)
    return (vectors, *found), with_info_of_b(aside, not_definite)


def _syevd(a, *bounds, call: Call, uplo: int, wanted: Part, as_columns: bool = False):
    """Decompose A, an (N, N) matrix or row blocks; return (([vectors], [found]), aside).

    With `bounds`, compute the lowest wanted.count eigenvectors with eigenvalues between them;
    `found` is their first index and their number (see `ffi.syevd`).
    """
    if uplo == LOWER:
        call = call.in_rows()
    ranks, n, matrix = call.ranks, a.shape[1], call.placement.spec
    if n == 0:
        specs = (matrix, *(PartitionSpec() for _ in bounds)), Aside(PartitionSpec(), None, matrix)
        return programs.auto(_nothing_decomposed, ranks, specs)(a, *bounds)
    options = dict(first=wanted.first, by_value=bool(bounds), as_columns=as_columns)
    options["grid_rows"] = call.placement.grid_rows
    if uplo == LOWER:
        a = row_blocks.from_triangle(a, upper=False, call=call)
    dtype, vector = a.dtype, PartitionSpec(None)
    of_vectors = (ranks.columns if as_columns else ranks.rows,) if wanted.count else ()
    of_results = (*of_vectors, *(vector for _ in bounds))

    def decompose_on(call):
        ranks, matrix = call.ranks, call.placement.spec
        plan = call.plan("syevd", n, wanted.count, dtype, **options)

        def decompose(a, *bounds):
            rest, w, *results, info = programs.over_ranks(
                functools.partial(
                    ffi.syevd, n=n, part=wanted, as_columns=as_columns, call=plan, ranks=ranks
                ),
                ranks,
                (matrix, *(PartitionSpec(None, None) for _ in bounds)),
                (matrix, vector, *of_results, vector),
            )(programs.to_rows(a, ranks.padded_rows(n)), *(two[None] for two in bounds))
            return tuple(results), Aside(info[0], w, rest)

        return decompose

    by_one = call.solved_by_one("syevd", n, wanted.count, dtype, **options)
    specs = of_results, Aside(PartitionSpec(), vector, matrix)
    return programs.auto(batchable(decompose_on, call, by_one), ranks, specs)(a, *bounds)


def _nothing_decomposed(a, *bounds):
    """Return the result of `_syevd` for a matrix of order 0."""
    aside = Aside(jnp.zeros((), np.int32), a.ravel().real, a)
    return (a, *(jnp.zeros(2, np.int32) for _ in bounds)), aside


def _reduced(a, b, *, call: Call, uplo: int):
    """Reduce to the standard problem: return C = L^-1 A L^-H, and the factor and info of B = L L^H.

    C is in row blocks. B may be its factor: its info is then left to the caller.
    """
    a = row_blocks.from_triangle(a, upper=uplo == UPPER, call=call)
    if isinstance(b, Dealt):
        factor, info = b, None
    else:
        b = row_blocks.from_triangle(b, upper=uplo == UPPER, call=call)
        factor, info = cholesky.potrf(b, call=call)
    half = cholesky.potrs_rows(factor, a, call=call, sweeps=FORWARD)  # A L^-H
    half = row_blocks.adjoint(half, call=call)  # L^-1 A
    return cholesky.potrs_rows(factor, half, call=call, sweeps=FORWARD), factor, info


def with_info_of_b(aside: Aside, not_definite) -> Aside:
    """Set LAPACK's info: N + i if the leading minor of order i of B is not positive definite."""
    if not_definite is None:
        return aside
    n = aside.spectrum.size
    return aside._replace(info=jnp.where(not_definite == 0, aside.info, n + not_definite))


# --- inside the caller's shard_map ------------------------------------------------------------


def eigh_on_shards(a, call: Call, *, vectors: bool):
    """Decompose A from this rank's rows; return (w, [this rank's columns of V], info).

    The upper triangle is read.
    """
    ranks, n = call.ranks, a.shape[1]
    if a.size == 0:
        v = (a.T,) if vectors else ()
        return jnp.zeros(0, np.finfo(a.dtype).dtype), *v, jnp.zeros((), np.int32)
    part = Part(0, n if vectors else 0)
    plan = call.plan("syevd", n, part.count, a.dtype, as_columns=True)
    _, w, *v, info = ffi.syevd(a, n=n, part=part, as_columns=True, call=plan, ranks=ranks)
    w, info = (varying.invariant(result, ranks.axes) for result in (w, info))
    return w, *v, info[0]
