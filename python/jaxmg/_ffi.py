"""The XLA FFI calls, one function a handler, in the view of one rank (inside ``shard_map``).

A call needs to know who takes part. Each rank's `roll_call` says who it is (process, device, a
fresh communicator id), an ``all_gather`` in the same program makes the roll, and the solver's
handler reads its rank and its peers off it.
"""

import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmg import _native
from jaxmg._sharding import Ranks

_ROLL_WORDS = 40
_call_sites = itertools.count()


def potrs(a, b, *, n: int, call: _native.CallPlan, ranks: Ranks):
    """Solve A X = B for this rank's rows of A; return (its block of the factor, X, info).

    Parameters
    ----------
    a : (ceil(n / P), n) array
        This rank's rows; rows beyond the matrix are ignored. Becomes the factor.
    b : (k, n) array
        Right-hand sides as rows, conjugated: all of them (k = nrhs), or this rank's share
        (k = ceil(nrhs / P)) where the plan distributes them. Becomes X in the same form.
    """
    results = (
        _like(a),
        _like(b),
        jax.ShapeDtypeStruct((1,), np.int32),
        _workspace(call),
    )
    factor, x, info, _ = jax.ffi.ffi_call(
        "jaxmg_potrs",
        results,
        input_output_aliases={0: 0, 1: 1},
        vmap_method="sequential",
    )(
        a,
        b,
        _roll(ranks, a, b),
        **_attributes(
            ranks,
            n=n,
            tile=call.tile,
            pivot=call.pivot,
            slots=call.slots,
            distributed_rhs=call.distributed_rhs,
        ),
    )
    return factor, x, info


def redistribute(a, *, n_rows: int, call: _native.CallPlan, inverse: bool, ranks: Ranks):
    """Deal this rank's block of rows out in tiles, round robin (or back, if `inverse`)."""
    a, _ = jax.ffi.ffi_call(
        "jaxmg_redistribute",
        (_like(a), _workspace(call)),
        input_output_aliases={0: 0},
        vmap_method="sequential",
    )(a, _roll(ranks, a), **_attributes(ranks, n_rows=n_rows, tile=call.tile, inverse=inverse))
    return a


def _roll(ranks: Ranks, *operands):
    """Return the (P, 40) roll of the ranks.

    It takes an element of each operand, so that XLA can neither share the roll of one call with
    another call nor move it out of a loop whose operands change.
    """
    seed = jnp.concatenate([operand[:1, :1] for operand in operands])
    name = jax.ffi.ffi_call(
        "jaxmg_roll_call",
        jax.ShapeDtypeStruct((_ROLL_WORDS,), np.uint32),
        vmap_method="sequential",
    )(seed, processes=np.int64(ranks.processes))
    return lax.all_gather(name, ranks.axes) if ranks.axes else name[None]


def _attributes(ranks: Ranks, **attributes):
    """Return the attributes of a call as int64, whatever JAX's default integer is."""
    attributes |= {
        "call_site": next(_call_sites),
        "processes": ranks.processes,
        "timeout_ms": round(1000 * float(os.environ.get("JAXMG_TIMEOUT_SECONDS", "300"))),
    }
    return {name: np.int64(value) for name, value in attributes.items()}


def _like(array):
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _workspace(call: _native.CallPlan):
    return jax.ShapeDtypeStruct((call.workspace_bytes,), np.uint8)
