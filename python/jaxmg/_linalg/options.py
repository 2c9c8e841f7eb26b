"""The options of the functions, and how a call is made of them."""

import functools
from dataclasses import dataclass, replace

from jaxmg._arguments import as_array, check_square, positive_int, real_scalar
from jaxmg._linalg.keywords import gathered, keyword
from jaxmg._mesh import placement
from jaxmg._mesh.finding import ranks_of
from jaxmg._mesh.ranks import row_spec
from jaxmg._mesh.specs import spec_on
from jaxmg._native import loading
from jaxmg._planning import backends
from jaxmg._programs.call import Call, Placement


@dataclass(frozen=True)
class Options:
    """What a caller may say about how a result is computed."""

    return_info: bool = keyword(
        False,
        """
        return_info : bool
            Append LAPACK's ``info`` to the result.
        """,
    )
    tile: int | None = keyword(
        None,
        """
        tile : int, optional
            Width of the tile columns, a hint; it does not change the result beyond rounding.
        """,
    )
    backend: str = keyword(
        "auto",
        """
        backend : {"auto", "tiled", "cusolvermg", "cusolvermp"}
            Which implementation to use: "tiled" is this library's own, the others are NVIDIA's
            (see `jaxmg.backends`). "auto" is what ``jaxmg.config.backend`` says, and otherwise the
            one that is expected to be fastest; `jaxmg.plan` reports which.
        """,
    )
    donate: bool = keyword(
        False,
        """
        donate : bool
            Let `a` be overwritten. Outside ``jit``, `a` cannot be used afterwards; inside, donate
            it at the outer ``jit`` instead. Of an `a` that has to be promoted, the copy is
            overwritten.
        """,
    )
    workspace_limit: int | None = keyword(
        None,
        """
        workspace_limit : int, optional
            Most bytes of workspace per device; by default the planner chooses (see `jaxmg.plan`).
        """,
    )

    def named(self, *names: str) -> dict:
        """Return some of the options as keyword arguments."""
        return {name: getattr(self, name) for name in names}

    def with_tile(self, tile: int | None) -> "Options":
        return replace(self, tile=tile)


takes = functools.partial(gathered, "options", Options)


def to_matrix(routine, program, a, options: Options, *scalars, **static):
    """Run a program that makes a matrix like `a` of it; return (matrix, info) or the matrix.

    `scalars` are pairs of a name and a real number, which the program is given, too.
    """
    a, call = prepared(routine, a, options)
    ranks = call.ranks
    spec = spec_on(a, ranks.mesh) or row_spec(a.shape[0], ranks)
    (placed,) = placement.place_all(ranks, a)
    scalars = (
        placement.place_scalar(real_scalar(value, name, a.dtype), ranks, placed)
        for name, value in scalars
    )
    x, info = program(placed, *scalars, call=call, spec=spec, donate=options.donate, **static)
    x = placement.keep_sharding(x, a)
    return (x, info) if options.return_info else x


def prepared(routine, a, options: Options, *others):
    """Return a matrix, checked, and how to call a routine on it and `others`, where these live."""
    a = as_array(a, "a")
    check_square(a)
    ranks = ranks_of(a, *others)
    return a, make_call(routine, a, ranks, options)


def make_call(routine, a, ranks, options: Options, *, count=None) -> Call:
    """Return how a routine is called for a matrix A on `ranks`, checked.

    `count` is the number of right-hand sides, or of eigenvectors; by default 1, or all.
    """
    tile = positive_int(options.tile, "tile")
    limit = positive_int(options.workspace_limit, "workspace_limit")
    n = a.shape[-1]
    if count is None:
        count = n if routine == "syevd" else 1
    request = backends.Request.on(ranks, n, count, a.dtype)
    chosen = backends.choose(routine, request, options.backend)
    loading.require(ranks.platform)
    takes_blocks = chosen.name == "cusolvermp" and routine in ("potrs", "syevd")
    placement = Placement.blocks_of(a, ranks) if takes_blocks else Placement.rows(ranks)
    return Call(ranks, placement, tile, limit, chosen.name)
