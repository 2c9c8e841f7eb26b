"""What the functions of `jaxmg.linalg` have in common: their options, and where matrices go."""

from jaxmg._arguments import as_array, check_square, positive_int, real_scalar
from jaxmg._mesh import placement
from jaxmg._mesh.finding import ranks_of
from jaxmg._mesh.ranks import row_spec
from jaxmg._mesh.specs import spec_on
from jaxmg._native import loading
from jaxmg._planning import backends
from jaxmg._programs.call import Call, Placement


def to_matrix(routine, program, a, tile, backend, workspace_limit, donate, *scalars, **static):
    """Run a program that makes a matrix like `a` of it; return (matrix, info).

    `scalars` are pairs of a name and a real number, which the program is given, too.
    """
    a, call = prepared(routine, a, tile, backend, workspace_limit)
    ranks = call.ranks
    spec = spec_on(a, ranks.mesh) or row_spec(a.shape[0], ranks)
    (placed,) = placement.place_all(ranks, a)
    scalars = (
        placement.place_scalar(real_scalar(value, name, a.dtype), ranks, placed)
        for name, value in scalars
    )
    x, info = program(placed, *scalars, call=call, spec=spec, donate=donate, **static)
    return placement.keep_sharding(x, a), info


def prepared(routine, a, tile, backend, workspace_limit, *others):
    """Return a matrix, checked, and how to call a routine on it and `others`, where these live."""
    a = as_array(a, "a")
    check_square(a)
    ranks = ranks_of(a, *others)
    return a, make_call(routine, a, ranks, tile, backend, workspace_limit)


def make_call(routine, a, ranks, tile, backend, workspace_limit, *, count=None) -> Call:
    """Return how a routine is called for a matrix A on `ranks`, checked.

    `count` is the number of right-hand sides, or of eigenvectors; by default 1, or all.
    """
    tile, limit = positive_int(tile, "tile"), positive_int(workspace_limit, "workspace_limit")
    n = a.shape[-1]
    if count is None:
        count = n if routine == "syevd" else 1
    request = backends.Request.on(ranks, n, count, a.dtype)
    chosen = backends.choose(routine, request, backend)
    loading.require(ranks.platform)
    takes_blocks = chosen.name == "cusolvermp" and routine in ("potrs", "syevd")
    placement = Placement.blocks_of(a, ranks) if takes_blocks else Placement.rows(ranks)
    return Call(ranks, placement, tile, limit, chosen.name)
