"""XLA FFI calls, one function per handler, on the blocks of one rank (inside ``shard_map``).

Each call identifies its ranks by a roll call. The handler `roll_call` returns a rank's process,
device and a fresh communicator id. An ``all_gather`` in the same program collects these into the
roll, from which the solver's handler reads its rank and its peers. A single rank needs none, nor do
the GPUs of one process; see `_identity`.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg._config import config
from jaxmg._mesh import varying
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import log, plans

_ROLL_WORDS = 40


def posv(a, b, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A and solve A X = B; return (this rank's part of the factor, X, info).

    Parameters
    ----------
    a : (ceil(n / P), n) array
        This rank's rows of A; rows beyond the matrix are ignored. Overwritten by the factor.
    b : (k, n) array
        Right-hand sides as rows, conjugated: all of them (k = nrhs), or this rank's share
        (k = ceil(nrhs / P)) where the plan distributes them. Overwritten by X in the same form.
    """
    return _call("posv", (a, b), (_INFO,), call=call, ranks=ranks)


def potrf(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A; return (this rank's part of the factor, info). `a` is as for `posv`.

    The factor stays in tile columns dealt to the ranks; only the functions below read it. If A is
    not positive definite, it is all NaN, and so are their results.
    """
    return _call("potrf", (a,), (_INFO,), call=call, ranks=ranks)


def potrs(b, factor, *, call: plans.CallPlan, ranks: Ranks):
    """Solve with a factor, by the sweeps of the plan; return X. `b` is as for `posv`."""
    (x,) = _call("potrs", (b,), (), read=(factor,), call=call, ranks=ranks)
    return x


def potri(factor, *, call: plans.CallPlan, ranks: Ranks):
    """Return this rank's rows of the inverse of A, both triangles, in place of the factor."""
    (inverse,) = _call("potri", (factor,), (), call=call, ranks=ranks)
    return inverse


def lower(factor, *, call: plans.CallPlan, ranks: Ranks):
    """Return this rank's rows of L, with zeros above the diagonal, in place of the factor."""
    (triangle,) = _call("lower", (factor,), (), call=call, ranks=ranks)
    return triangle


def diagonal(factor, *, call: plans.CallPlan, ranks: Ranks):
    """Return the (1, n) diagonal of L, the same on every rank."""
    result = jax.ShapeDtypeStruct((1, factor.shape[1]), factor.dtype)
    (values,) = _call("diagonal", (), (result,), read=(factor,), call=call, ranks=ranks)
    return values


def hemm(a, x, *, call: plans.CallPlan, ranks: Ranks):
    """Return this rank's part of A X for a Hermitian A; the sum of all parts is A X.

    `a` is as for `posv`, but only read, and `x` has all vectors as rows, conjugated.
    """
    result = jax.ShapeDtypeStruct(x.shape, x.dtype)
    (product,) = _call("hemm", (), (result,), read=(a, x), call=call, ranks=ranks)
    return product


def equilibrate(a, left, right, shift, *, call: plans.CallPlan, ranks: Ranks):
    """Scale A and round it to single precision; return (scaled, sums of rows, sums of columns).

    `a` is as for `posv`, but only read. (1, n) `left` and `right` multiply all rows and columns of
    A, and 1 + `shift`, a (1, 1) array, its diagonal. Magnitudes are summed over this rank's rows,
    and over its part of all columns; if A is Hermitian, the diagonal and the elements above it
    count in the former sums, and the elements above the diagonal in the latter.
    """
    single = np.complex64 if jnp.iscomplexobj(a) else np.float32
    shapes = (a.shape, single), (a.shape[:1], left.dtype), (a.shape[1:], left.dtype)
    results = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes)
    operands = a, left, right, shift
    return _call("equilibrate", (), results, read=operands, call=call, ranks=ranks)


def gesv(a, b, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A and solve A X = B; return (factors on this rank, X, pivots, info).

    `a` and `b` are as for `posv`, except that right-hand sides are not conjugated. `getrs` cannot
    read a vendor's factors: only x and info are then defined.
    """
    if call.backend == "tiled":
        return _call("gesv", (a, b), (_pivots(a), _INFO), call=call, ranks=ranks)
    undefined, x, info = _call("gesv", (a, b), (_INFO,), call=call, ranks=ranks)
    return undefined, x, jnp.broadcast_to(0 * info, _pivots(a).shape), info


def getrf(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor P A^T = L U; return (factors on this rank, (1, n) pivots, info)."""
    return _call("getrf", (a,), (_pivots(a), _INFO), call=call, ranks=ranks)


def getrs(b, factor, pivots, *, call: plans.CallPlan, ranks: Ranks):
    """Solve with the factors and the plan's `trans`; return X. `b` is as for `gesv`."""
    (x,) = _call("getrs", (b,), (), read=(factor, pivots), call=call, ranks=ranks)
    return x


def getri(factor, pivots, *, call: plans.CallPlan, ranks: Ranks):
    """Return this rank's rows of the inverse of A, in place of the factors."""
    (inverse,) = _call("getri", (factor,), (), read=(pivots,), call=call, ranks=ranks)
    return inverse


def trtrs(a, b, *, call: plans.CallPlan, ranks: Ranks):
    """Solve with a triangle of A; return (overwritten A, X). `b` is as for `gesv`."""
    return _call("trtrs", (a, b), (), call=call, ranks=ranks)


def geqrf(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A = Q R; return (R and reflectors on this rank, their T, info).

    `a` is a (ceil(n / P), m) array: this rank's columns of A as rows; columns beyond the matrix are
    ignored. The factor stays in tile columns dealt to the ranks; only the functions below read it.
    """
    factors = jax.ShapeDtypeStruct((a.shape[0], call.tile), a.dtype)
    return _call("geqrf", (a,), (factors, _INFO), call=call, ranks=ranks)


def tsqr(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor a tall A = Q R; return (Q, R, info). Without vectors in the plan, Q is undefined.

    `a` is a (ceil(m / P), n) array, this rank's rows of A; rows beyond the matrix are not read, and
    keep their values. R is replicated.
    """
    r = jax.ShapeDtypeStruct((a.shape[1], a.shape[1]), a.dtype)
    return _call("tsqr", (a,), (r, _INFO), call=call, ranks=ranks)


def tall_gels(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor a tall A for the solution of least squares; return (Q, R, kept, info).

    `a` is as for `tsqr`, but only read. `kept` is a (1,) array: 1 if `seminormal` can solve with R,
    Q then being undefined, and 0 if A = Q R.
    """
    q = jax.ShapeDtypeStruct(a.shape, a.dtype)
    r = jax.ShapeDtypeStruct((a.shape[1], a.shape[1]), a.dtype)
    return _call("tall_gels", (), (q, r, _INFO, _INFO), read=(a,), call=call, ranks=ranks)


def seminormal(a, r, w, v, *, call: plans.CallPlan, ranks: Ranks):
    """Solve r + A x = w, A^H r = v with the R of `tall_gels`; return (r, x).

    Right-hand sides are rows, conjugated: `w` is a (nrhs, ceil(m / P)) array, this rank's part, and
    `v` an (nrhs, n) array.
    """
    results = tuple(jax.ShapeDtypeStruct(b.shape, b.dtype) for b in (w, v))
    return _call("seminormal", (), results, read=(a, r, w, v), call=call, ranks=ranks)


def getsls(a, w, *, call: plans.CallPlan, ranks: Ranks):
    """Solve least squares of a tall A for few right-hand sides; return (x, squares, info).

    `a` is as for `tsqr`, but only read; `w` as for `seminormal`. `squares` has the squared norms of
    the residuals.
    """
    count = w.shape[0]
    x = jax.ShapeDtypeStruct((count, a.shape[1]), a.dtype)
    squares = jax.ShapeDtypeStruct((count,), np.finfo(a.dtype).dtype)
    return _call("getsls", (), (x, squares, _INFO), read=(a, w), call=call, ranks=ranks)


def upper(a, *, rows: int, call: plans.CallPlan, ranks: Ranks):
    """Return this rank's columns of R, `rows` rows, as rows; zeros below the diagonal."""
    result = jax.ShapeDtypeStruct((a.shape[0], rows), a.dtype)
    (r,) = _call("upper", (), (result,), read=(a,), call=call, ranks=ranks)
    return r


def orgqr(a, r, factors, *, call: plans.CallPlan, ranks: Ranks):
    """Return (this rank's columns of Q as rows, in place of the factor; its rows of R).

    Columns beyond column m are zero. `r` passes through: R is made before the factor is gone.
    """
    return _call("orgqr", (a, r), (), read=(factors,), call=call, ranks=ranks)


def ormqr(b, a, factors, *, call: plans.CallPlan, ranks: Ranks):
    """Return Q B or Q^H B, as the plan says.

    `b` is a (k, m) array: columns of B as rows, all of them (k = nrhs), or this rank's share
    (k = ceil(nrhs / P)) where the plan distributes them.
    """
    (product,) = _call("ormqr", (b,), (), read=(a, factors), call=call, ranks=ranks)
    return product


def rtrs(b, a, *, call: plans.CallPlan, ranks: Ranks):
    """Solve with R or R^H, as the plan says; return X. `b` is (k, n), else as for `ormqr`."""
    (x,) = _call("rtrs", (b,), (), read=(a,), call=call, ranks=ranks)
    return x


def syevd(a, *bounds, n: int, part, as_columns: bool, call: plans.CallPlan, ranks: Ranks):
    """Decompose A; return (overwritten rows of this rank, w, [vectors], [found], info).

    Parameters
    ----------
    a : (ceil(n / P), n) array
        This rank's rows of A; only the upper triangle is read, and rows beyond the matrix are
        ignored.
    bounds : (1, 2) array, optional
        Select eigenvectors by value: w in (bounds[0], bounds[1]], at most part.count, lowest first.
        `found`, two integers, is the index of the first eigenvalue in the interval and the number
        of eigenvalues in it.
    part : Part
        Select eigenvectors by index, without bounds; none if part.count is 0.
    as_columns : bool
        Rank r holds ceil(part.count / P) of the selected eigenvectors, from number
        r ceil(part.count / P) on, padded with zeros. They are columns of V if True, and rows of
        Z = V^H if False.
    """
    real, share = np.finfo(a.dtype).dtype, -(-part.count // ranks.size)
    w = jax.ShapeDtypeStruct((n,), real)
    shape = (n, share) if as_columns else (share, n)
    vectors = (jax.ShapeDtypeStruct(shape, a.dtype),) if share else ()
    found = (jax.ShapeDtypeStruct((2,), np.int32),) if bounds else ()
    results = (w, *vectors, *found, _INFO)
    return _call("syevd", (a,), results, call=call, ranks=ranks, read=bounds)


def gesvd(a, *, vectors: bool, call: plans.CallPlan, ranks: Ranks):
    """Decompose A = U diag(s) V^H; return (overwritten rows of this rank, s, [U^H, V^H], info).

    `a` is as for `getrf`. s is in descending order, the same on every rank. U^H and V^H are this
    rank's rows, with zeros in padding rows. If the plan has ``as_columns``, on one rank, U
    takes the place of U^H and `a` may have more rows than columns.
    """
    rows, n = a.shape
    s = jax.ShapeDtypeStruct((n,), np.finfo(a.dtype).dtype)
    found = (a.shape, (min(rows, n), n)) if vectors else ()
    results = (s, *(jax.ShapeDtypeStruct(shape, a.dtype) for shape in found), _INFO)
    return _call("gesvd", (a,), results, call=call, ranks=ranks)


def polar(a, *, factor_h: bool, call: plans.CallPlan, ranks: Ranks):
    """Decompose A = U H or, if the plan has `left`, A = H U; return (U, [H], info).

    `a` is as for `getrf`. U and H are this rank's rows, with zeros in padding rows.
    """
    h = (jax.ShapeDtypeStruct(a.shape, a.dtype),) if factor_h else ()
    return _call("polar", (a,), (*h, _INFO), call=call, ranks=ranks)


def solver_bytes(token, *, call: plans.CallPlan, ranks: Ranks):
    """Query a vendor's solver for its workspace; return (token, units of 256 bytes on this rank).

    `token` is a (1, 1) array of float32 zeros; the query is part of the plan.
    """
    return _call("solver_bytes", (token,), (_INFO,), call=call, ranks=ranks)


# The sweeps of `potrs`: A X = B, L X = B, L^H X = B.
BOTH, FORWARD, BACKWARD = range(3)
_INFO = jax.ShapeDtypeStruct((1,), np.int32)


def redistribute(a, *, call: plans.CallPlan, ranks: Ranks):
    """Redistribute row blocks to tiles dealt round-robin, or back (as the plan says)."""
    (a,) = _call("redistribute", (a,), (), call=call, ranks=ranks)
    return a


def _pivots(a):
    return jax.ShapeDtypeStruct((1, a.shape[1]), np.int32)


def _call(name, overwritten, results, *, call, ranks, read=()):
    """Call a handler; return the overwritten operands, then its other results."""
    log.call(name, call, ranks)
    operands = varying.alike(*overwritten, *read)
    results = tuple(
        varying.result(kind.shape, kind.dtype, *operands)
        for kind in (*overwritten, *results, _workspace(call))
    )
    call_site = _call_site(name, results, call)
    with jax.named_scope(f"jaxmg.{name}"):  # Named in profiles and in the text of programs.
        *outputs, _ = jax.ffi.ffi_call(
            f"jaxmg_{name}",
            results,
            input_output_aliases={i: i for i in range(len(overwritten))},
            vmap_method="sequential",
        )(*operands, *_identity(ranks, call_site, operands), **_attributes(call, call_site, ranks))
    return tuple(varying.in_context(output, *operands) for output in outputs)


def _call_site(name: str, results, call: plans.CallPlan) -> int:
    """Return a hash of a call: its routine, results and plan.

    It is independent of earlier traces. A program is therefore found in the persistent compilation
    cache whatever the order of calls, and is the same in all processes.
    """
    shapes = [(result.shape, str(result.dtype)) for result in results]
    kind = repr((name, shapes, call.words))
    return int.from_bytes(hashlib.blake2b(kind.encode(), digest_size=7).digest(), "little")


def _identity(ranks: Ranks, call_site: int, operands):
    """Return the operands from which the handler of a call learns its rank and its peers.

    A single rank has no such operand. The GPUs of one process meet under XLA's number of the
    execution, if they are all devices of the program, and each needs its rank only: all GPUs run
    the calls of a program in the same order. (CPUs do not, and the roll is then the identity of the
    call.)
    """
    if ranks.size == 1:
        return ()
    if ranks.platform == "gpu" and ranks.processes == 1 and ranks.size == ranks.mesh.size:
        return (lax.axis_index(ranks.axes).astype(np.int32).reshape(1),)
    return (_roll(ranks, call_site, *operands),)


def _roll(ranks: Ranks, call_site: int, *operands):
    """Return the (P, 40) roll of the ranks.

    Each roll has a fresh id, by which the ranks of a call find each other among all calls in
    flight. To XLA, however, the roll call is a pure function: equal roll calls may be merged, or
    hoisted out of a loop. It therefore takes all operands of the call and its `call_site`: only
    calls with equal results can share a roll, and these are interchangeable.
    """
    name = jax.ffi.ffi_call(
        "jaxmg_roll_call",
        varying.result((_ROLL_WORDS,), np.uint32, *operands),
        vmap_method="expand_dims",
    )(*operands, call_site=np.int64(call_site), processes=np.int64(ranks.processes))
    return lax.all_gather(name, ranks.axes)


# 31 years: the native code counts nanoseconds in 64 bits.
_LONGEST_TIMEOUT = 1e9


def _attributes(call: plans.CallPlan, call_site: int, ranks: Ranks):
    """Return the attributes of a call as int64, whatever JAX's default integer dtype."""
    return {
        "plan": np.array(call.words, np.int64),
        "call_site": np.int64(call_site),
        "ranks": np.int64(ranks.size),
        "timeout_ms": np.int64(round(1000 * min(config.timeout_seconds, _LONGEST_TIMEOUT))),
    }


def _workspace(call: plans.CallPlan):
    return jax.ShapeDtypeStruct((call.workspace_bytes,), np.uint8)
