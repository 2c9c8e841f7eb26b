"""The XLA FFI calls, one function a handler, in the view of one rank (inside ``shard_map``).

A call needs to know who takes part. Each rank's `roll_call` says who it is (process, device, a
fresh communicator id), an ``all_gather`` in the same program makes the roll, and the solver's
handler reads its rank and its peers off it.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg._config import config
from jaxmg._mesh import varying
from jaxmg._mesh.ranks import Ranks
from jaxmg._native import plans

_ROLL_WORDS = 40


def posv(a, b, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A and solve A X = B; return (this rank's part of the factor, X, info).

    Parameters
    ----------
    a : (ceil(n / P), n) array
        This rank's rows of A; rows beyond the matrix are ignored. Becomes the factor.
    b : (k, n) array
        Right-hand sides as rows, conjugated: all of them (k = nrhs), or this rank's share
        (k = ceil(nrhs / P)) where the plan distributes them. Becomes X in the same form.
    """
    return _call("posv", (a, b), (_INFO,), call=call, ranks=ranks)


def potrf(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A; return (this rank's part of the factor, info). `a` is as for `posv`.

    The factor stays in tile columns dealt to the ranks, as it is computed; only the functions below
    read it. It is all NaN if A is not positive definite, and so is what they make of it.
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


def gesv(a, b, *, call: plans.CallPlan, ranks: Ranks):
    """Factor A and solve A X = B; return (this rank's part of the factors, X, pivots, info).

    `a` and `b` are as for `posv`, but right-hand sides are rows that are not conjugated. A vendor's
    factors are not those that `getrs` reads: only x and info are defined then.
    """
    if call.backend == "tiled":
        return _call("gesv", (a, b), (_pivots(a), _INFO), call=call, ranks=ranks)
    undefined, x, info = _call("gesv", (a, b), (_INFO,), call=call, ranks=ranks)
    return undefined, x, jnp.broadcast_to(0 * info, _pivots(a).shape), info


def getrf(a, *, call: plans.CallPlan, ranks: Ranks):
    """Factor P A^T = L U; return (this rank's part of the factors, (1, n) pivots, info)."""
    return _call("getrf", (a,), (_pivots(a), _INFO), call=call, ranks=ranks)


def getrs(b, factor, pivots, *, call: plans.CallPlan, ranks: Ranks):
    """Solve with the factors, by `trans` of the plan; return X. `b` is as for `gesv`."""
    (x,) = _call("getrs", (b,), (), read=(factor, pivots), call=call, ranks=ranks)
    return x


def getri(factor, pivots, *, call: plans.CallPlan, ranks: Ranks):
    """Return this rank's rows of the inverse of A in place of the factors."""
    (inverse,) = _call("getri", (factor,), (), read=(pivots,), call=call, ranks=ranks)
    return inverse


def trtrs(a, b, *, call: plans.CallPlan, ranks: Ranks):
    """Solve with a triangle of A; return (what is left of A, X). `b` is as for `gesv`."""
    return _call("trtrs", (a, b), (), call=call, ranks=ranks)


def syevd(a, *bounds, n: int, part, as_columns: bool, call: plans.CallPlan, ranks: Ranks):
    """Decompose A; return (what is left of this rank's rows, w, [vectors], [found], info).

    Parameters
    ----------
    a : (ceil(n / P), n) array
        This rank's rows of A, of which the upper triangle is read; rows beyond the matrix are
        ignored.
    bounds : (1, 2) array, optional
        Makes the wanted eigenvectors those of eigenvalues above the first number, up to the second
        one, and of them the lowest part.count. `found`, two integers, is the number of the first
        eigenvalue between the bounds, and how many there are.
    part : Part
        Which eigenvectors are wanted, if there are no bounds. There are none if part.count is 0.
    as_columns : bool
        Rank r has ceil(part.count / P) eigenvectors, numbers r ceil(part.count / P) and following
        of the wanted ones, and zeros in place of those beyond. They are columns of V, or (False)
        conjugated and rows, those of Z = V^H.
    """
    real, share = np.finfo(a.dtype).dtype, -(-part.count // ranks.size)
    w = jax.ShapeDtypeStruct((n,), real)
    shape = (n, share) if as_columns else (share, n)
    vectors = (jax.ShapeDtypeStruct(shape, a.dtype),) if share else ()
    found = (jax.ShapeDtypeStruct((2,), np.int32),) if bounds else ()
    results = (w, *vectors, *found, _INFO)
    return _call("syevd", (a,), results, call=call, ranks=ranks, read=bounds)


def solver_bytes(token, *, call: plans.CallPlan, ranks: Ranks):
    """Ask a vendor's solver what it needs; return (token, units of 256 bytes on this rank).

    `token` is a (1, 1) array of float32 zeros; the question is part of the plan.
    """
    return _call("solver_bytes", (token,), (_INFO,), call=call, ranks=ranks)


# The sweeps of `potrs`: A X = B, L X = B, L^H X = B.
BOTH, FORWARD, BACKWARD = range(3)
_INFO = jax.ShapeDtypeStruct((1,), np.int32)


def redistribute(a, *, call: plans.CallPlan, ranks: Ranks):
    """Deal this rank's block of rows out in tiles, round robin (or back, if the plan says so)."""
    (a,) = _call("redistribute", (a,), (), call=call, ranks=ranks)
    return a


def _pivots(a):
    return jax.ShapeDtypeStruct((1, a.shape[1]), np.int32)


def _call(name, overwritten, results, *, call, ranks, read=()):
    """Call a handler; return what became of the operands it overwrites, then its other results."""
    operands = varying.alike(*overwritten, *read)
    results = tuple(
        varying.result(kind.shape, kind.dtype, *operands)
        for kind in (*overwritten, *results, _workspace(call))
    )
    call_site = _call_site(name, results, call)
    *outputs, _ = jax.ffi.ffi_call(
        f"jaxmg_{name}",
        results,
        input_output_aliases={i: i for i in range(len(overwritten))},
        vmap_method="sequential",
    )(*operands, _roll(ranks, call_site, *operands), **_attributes(call, call_site))
    return tuple(varying.in_context(output, *operands) for output in outputs)


def _call_site(name: str, results, call: plans.CallPlan) -> int:
    """Return a hash of a call: its routine, results and plan.

    It depends on nothing that was traced before. A program is therefore found in the persistent
    compilation cache whatever the order of calls, and is the same in all processes.
    """
    shapes = [(result.shape, str(result.dtype)) for result in results]
    kind = repr((name, shapes, call.words))
    return int.from_bytes(hashlib.blake2b(kind.encode(), digest_size=7).digest(), "little")


def _roll(ranks: Ranks, call_site: int, *operands):
    """Return the (P, 40) roll of the ranks.

    Each roll has a fresh number, by which the ranks of a call meet among all calls in flight. To
    XLA, however, the roll call is a pure function: equal ones may be merged, or moved out of a
    loop. The roll call takes all operands of the call and its `call_site`, so that only calls with
    equal results can share a roll. Among those, it does not matter which ones meet.

    The slices, too, are not read. Without them, about one in a thousand programs with independent
    calls deadlocked on CPUs under JAX 0.6.2, which ran the calls in another order on each device.
    """
    slices = [operand[:1, :1] for operand in operands]
    name = jax.ffi.ffi_call(
        "jaxmg_roll_call",
        varying.result((_ROLL_WORDS,), np.uint32, *operands),
        vmap_method="expand_dims",
    )(*operands, *slices, call_site=np.int64(call_site), processes=np.int64(ranks.processes))
    return lax.all_gather(name, ranks.axes) if ranks.axes else name[None]


def _attributes(call: plans.CallPlan, call_site: int):
    """Return the attributes of a call as int64, whatever JAX's default integer is."""
    return {
        "plan": np.array(call.words, np.int64),
        "call_site": np.int64(call_site),
        "timeout_ms": np.int64(round(1000 * config.timeout_seconds)),
    }


def _workspace(call: plans.CallPlan):
    return jax.ShapeDtypeStruct((call.workspace_bytes,), np.uint8)
