"""Shared options of the functions in `jaxmg.linalg`, and the calls built from them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxmg._arguments import as_array, check_square, positive_int, real_scalar
from jaxmg._linalg.keywords import Result, gathered, keyword
from jaxmg._mesh import placement
from jaxmg._mesh.finding import ranks_of
from jaxmg._mesh.ranks import row_spec
from jaxmg._mesh.specs import spec_on
from jaxmg._native import loading
from jaxmg._planning import backends
from jaxmg._programs.call import Call, Placement


@dataclass(frozen=True)
class Options:
    """Options shared by the functions of `jaxmg.linalg`."""

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
            Width of the tile columns, a hint; the result does not depend on it beyond rounding.
        """,
    )
    backend: str = keyword(
        "auto",
        """
        backend : {"auto", "tiled", "cusolvermg", "cusolvermp"}
            Implementation to use: "tiled" is this library's own, the others are NVIDIA's (see
            `jaxmg.backends`). "auto" selects ``jaxmg.config.backend`` if it is set, else the
            backend with the shortest expected time, which `jaxmg.plan` reports.
        """,
    )
    donate: bool = keyword(
        False,
        """
        donate : bool
            Allow `a` to be overwritten. Outside ``jit``, `a` cannot be used afterwards. Inside, it
            has no effect: donate `a` to the outer ``jit``, which saves the copy if the program
            returns an array in its place: an inverse, eigenvectors, or a factor with the solution.
            If `a` has to be promoted, only the promoted copy is overwritten.
        """,
    )
    refine: str | None = keyword(
        None,
        """
        refine : {"off", "auto", "float32", "tf32", "fp16x2"}, optional
            Precision in which `a` is factored; the solution is then refined to the accuracy of the
            dtype of `a`, or computed without refinement where that fails. "float32" requires
            float64 or complex128. "tf32" and "fp16x2" (two half-precision numbers for each element)
            use the tensor cores of GPUs; on CPUs their arithmetic is float32. "auto" selects the
            precision that the planner expects to be fastest, or "off". By default
            ``jaxmg.config.refine``, which is "off" unless it is set.
        """,
    )
    workspace_limit: int | None = keyword(
        None,
        """
        workspace_limit : int, optional
            Maximum workspace per device, in bytes; by default the planner chooses (see
            `jaxmg.plan`).
        """,
    )

    def named(self, *names: str) -> dict:
        """Return some of the options as keyword arguments."""
        return {name: getattr(self, name) for name in names}

    def with_tile(self, tile: int | None) -> "Options":
        return replace(self, tile=tile)


def takes(*names: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Return a decorator that gathers the options `names` as the argument `options`."""
    return gathered("options", Options, *names)


def to_matrix(routine, program, a, options: Options, *scalars, **static):
    """Run a program that maps `a` to a matrix of the same shape; return (matrix, info) or matrix.

    `scalars` are pairs (name, real number), passed to the program as further operands.
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
    """Return a checked matrix, and the call of a routine on the devices of it and `others`."""
    a = as_array(a, "a")
    check_square(a)
    ranks = ranks_of(a, *others)
    return a, make_call(routine, a, ranks, options)


def make_call(routine, a, ranks, options: Options, *, count=None) -> Call:
    """Return the checked parameters of a call for a matrix A on `ranks`.

    `count` is the number of right-hand sides, or of eigenvectors or singular vectors; by default 1
    or all.
    """
    tile = positive_int(options.tile, "tile")
    limit = positive_int(options.workspace_limit, "workspace_limit")
    n, rows = backends.sizes(routine, a.shape)
    if count is None:
        count = n if routine in ("syevd", "gesvd") else 1
    request = backends.Request.on(ranks, n, count, a.dtype, rows)
    chosen = backends.choose(routine, request, options.backend)
    loading.require(ranks.platform)
    takes_blocks = chosen.name == "cusolvermp" and routine in ("potrs", "syevd")
    placement = Placement.blocks_of(a, ranks) if takes_blocks else Placement.rows(ranks)
    return Call(ranks, placement, tile, limit, chosen.name)


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
    """Return (transposed, conjugated) for a value of `trans`, or fail."""
    if trans not in _TRANS:
        raise ValueError(f"trans must be one of {tuple(_TRANS)}, got {trans!r}")
    return _TRANS[trans]
