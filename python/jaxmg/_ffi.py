"""The XLA FFI calls, one function a handler, in the view of one rank (inside ``shard_map``).

A call needs to know who takes part. Each rank's `roll_call` says who it is (process, device, a
fresh communicator id), an ``all_gather`` in the same program makes the roll, and the solver's
handler reads its rank and its peers off it.
"""

import collections
import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from jaxmg import _native
from jaxmg._config import config
from jaxmg._sharding import Ranks

_ROLL_WORDS = 40
_call_sites = collections.defaultdict(itertools.count)


def posv(a, b, *, call: _native.CallPlan, ranks: Ranks):
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


def potrf(a, *, call: _native.CallPlan, ranks: Ranks):
    """Factor A; return (this rank's part of the factor, info). `a` is as for `posv`.

    The factor stays in tile columns dealt to the ranks, as it is computed; only the functions below
    read it. It is all NaN if A is not positive definite, and so is what they make of it.
    """
    return _call("potrf", (a,), (_INFO,), call=call, ranks=ranks)


def potrs(b, factor, *, call: _native.CallPlan, ranks: Ranks):
    """Solve with a factor, by the sweeps of the plan; return X. `b` is as for `posv`."""
    (x,) = _call("potrs", (b,), (), read=(factor,), call=call, ranks=ranks)
    return x


def potri(factor, *, call: _native.CallPlan, ranks: Ranks):
    """Return this rank's rows of the inverse of A, both triangles, in place of the factor."""
    (inverse,) = _call("potri", (factor,), (), call=call, ranks=ranks)
    return inverse


def lower(factor, *, call: _native.CallPlan, ranks: Ranks):
    """Return this rank's rows of L, with zeros above the diagonal, in place of the factor."""
    (triangle,) = _call("lower", (factor,), (), call=call, ranks=ranks)
    return triangle


def diagonal(factor, *, call: _native.CallPlan, ranks: Ranks):
    """Return the (1, n) diagonal of L, the same on every rank."""
    result = jax.ShapeDtypeStruct((1, factor.shape[1]), factor.dtype)
    (values,) = _call("diagonal", (), (result,), read=(factor,), call=call, ranks=ranks)
    return values


def syevd(a, *bounds, n: int, part, as_columns: bool, call: _native.CallPlan, ranks: Ranks):
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


def solver_bytes(token, *, call: _native.CallPlan, ranks: Ranks):
    """Ask a vendor's solver what it needs; return (token, units of 256 bytes on this rank).

    `token` is a (1, 1) array of float32 zeros; the question is part of the plan.
    """
    return _call("solver_bytes", (token,), (_INFO,), call=call, ranks=ranks)


# The sweeps of `potrs`: A X = B, L X = B, L^H X = B.
BOTH, FORWARD, BACKWARD = range(3)
_INFO = jax.ShapeDtypeStruct((1,), np.int32)


def redistribute(a, *, call: _native.CallPlan, ranks: Ranks):
    """Deal this rank's block of rows out in tiles, round robin (or back, if the plan says so)."""
    (a,) = _call("redistribute", (a,), (), call=call, ranks=ranks)
    return a


def _call(name, overwritten, results, *, call, ranks, read=()):
    """Call a handler; return what became of the operands it overwrites, then its other results."""
    operands = (*overwritten, *read)
    call_site = _call_site(ranks)
    *outputs, _ = jax.ffi.ffi_call(
        f"jaxmg_{name}",
        (*map(_like, overwritten), *results, _workspace(call)),
        input_output_aliases={i: i for i in range(len(overwritten))},
        vmap_method="sequential",
    )(*operands, _roll(ranks, call_site, *operands), **_attributes(call, call_site))
    return tuple(outputs)


def _call_site(ranks: Ranks) -> int:
    """Return a number that no other call in this process has.

    Calls are counted for each mesh by itself: where a program runs in several processes it has to
    be the same in each, whatever else some of them compute.
    """
    devices = ranks.mesh.devices.flat if isinstance(ranks.mesh, Mesh) else ()
    shape = ranks.mesh.shape_tuple if ranks.mesh is not None else ()
    where = zlib.crc32(repr((shape, ranks.axes, [device.id for device in devices])).encode())
    return where << 31 | next(_call_sites[where])


def _roll(ranks: Ranks, call_site: int, *operands):
    """Return the (P, 40) roll of the ranks.

    It has the number of the call site, so that XLA cannot share the roll of one call with another
    call, and takes an element of each operand, so that it is not moved out of a loop whose operands
    change.
    """
    seed = jnp.concatenate([operand[:1, :1] for operand in operands])
    name = jax.ffi.ffi_call(
        "jaxmg_roll_call",
        jax.ShapeDtypeStruct((_ROLL_WORDS,), np.uint32),
        vmap_method="sequential",
    )(seed, call_site=np.int64(call_site), processes=np.int64(ranks.processes))
    return lax.all_gather(name, ranks.axes) if ranks.axes else name[None]


def _attributes(call: _native.CallPlan, call_site: int):
    """Return the attributes of a call as int64, whatever JAX's default integer is."""
    return {
        "plan": np.array(call.words, np.int64),
        "call_site": np.int64(call_site),
        "timeout_ms": np.int64(round(1000 * config.timeout_seconds)),
    }


def _like(array):
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _workspace(call: _native.CallPlan):
    return jax.ShapeDtypeStruct((call.workspace_bytes,), np.uint8)
