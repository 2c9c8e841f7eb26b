"""What the functions of `jaxmg.linalg` have in common: their options, and where matrices go."""

from jaxmg import _native, _sharding
from jaxmg._arguments import as_array, check_square, positive_int
from jaxmg._cholesky import Call

_BACKENDS = ("auto", "tiled")


def to_matrix(program, a, tile, backend, workspace_limit, donate, *others, **static):
    """Run a program that makes a matrix like `a` of it; return (matrix, info)."""
    a, call = prepared(a, tile, backend, workspace_limit)
    ranks = call.ranks
    spec = _sharding.spec_on(a, ranks.mesh) or _sharding.row_spec(a.shape[0], ranks)
    (placed,) = _sharding.place_all(ranks, a)
    x, info = program(placed, *others, call=call, spec=spec, donate=donate, **static)
    return _sharding.keep_sharding(x, a), info


def prepared(a, tile, backend, workspace_limit, *others):
    """Return a matrix, checked, and how to call routines on it and `others`, where these live."""
    a = as_array(a, "a")
    check_square(a)
    return a, make_call(_sharding.ranks_of(a, *others), tile, backend, workspace_limit)


def make_call(ranks, tile, backend, workspace_limit) -> Call:
    check_backend(backend)
    call = Call(ranks, positive_int(tile, "tile"), positive_int(workspace_limit, "workspace_limit"))
    _native.require(ranks.platform)
    return call


def check_backend(backend) -> None:
    if backend not in _BACKENDS:
        raise ValueError(f"backend must be one of {_BACKENDS}, got {backend!r}")
