"""`lu_solve` of JAXMg 1.4."""

import math

from jaxmg._arguments import as_arrays, check_right_hand_side, check_square, positive_int
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._mesh import placement, programs
from jaxmg._mesh.specs import spec_on
from jaxmg._programs.call import Call
from jaxmg._rules import lu as rules
from jaxmg.compat.arguments import Specs, named_ranks, status_of


@takes("backend")
def lu_solve(
    a,
    b,
    T_A=None,
    mesh=None,
    matrix_specs=None,
    *,
    in_specs=None,
    return_status=False,
    pad=True,
    donate=True,
    options: Options,
):
    """Solve ``a @ x = b`` for a square matrix, by LU factorisation with partial pivoting.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. It is moved to the sharding
        `matrix_specs`.
    b : (N,) or (N, nrhs) array
        Right-hand sides. Dtypes are promoted as by `jaxmg.linalg.solve`.
    T_A : int, optional
        Tile size, a hint of at least 1; the result does not depend on it beyond rounding.
    mesh : Mesh or AbstractMesh, optional
        The devices; by default the devices of the arrays.
    matrix_specs : PartitionSpec or sequence of one, optional
        The spec of `a`, which may shard rows, columns or both; by default read off `a`.
    in_specs : PartitionSpec or sequence of one or two, optional
        ``P(axis, None)`` for `a`, and a replicated spec for `b`. With `matrix_specs` as well, the
        two must agree.
    return_status : bool
        Also return the status.
    pad : bool
        Accepted and ignored: no padding to the tile size is needed.
    donate : bool
        Allow `a` to be overwritten: outside ``jit`` it cannot be used afterwards. As in 1.4, this
        is the default (for `jaxmg.linalg.solve` it is not).
    {options}

    Returns
    -------
    x : array
        With the shape and the sharding of `b` and the common dtype; infinite or NaN on failure.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if a pivot is exactly zero.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is invalid. Errors about shapes are also
        AssertionErrors.
    TypeError
        If a dtype or the type of a spec or `mesh` is not supported.

    See Also
    --------
    jaxmg.linalg.solve : the same algorithm; its docstring names the source.
    jaxmg.linalg.lu_solve : solve with an existing factor.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jaxmg.lu_solve(jnp.array([[0.0, 2.0], [4.0, 0.0]]), jnp.ones(2)).tolist()
    [0.25, 0.5]
    """
    del pad
    a, b = as_arrays(("a", a), ("b", b))
    check_square(a)
    check_right_hand_side(a, b)
    tile = positive_int(T_A, "T_A")
    specs = Specs.given(in_specs, matrix_specs, with_b=True)
    ranks = named_ranks(mesh, specs, (a, b))
    call = make_call("gesv", a, ranks, options.with_tile(tile), count=math.prod(b.shape[1:]))
    x_spec = spec_on(b, call.ranks.mesh)
    placed = placement.place_all(call.ranks, a, b)
    x, status, _ = _lu_solve(*placed, call=call, x_spec=x_spec, donate=donate)
    x = placement.keep_sharding(x, b)
    return (x, status) if return_status else x


@programs.program("x_spec")
def _lu_solve(a, b, *, call: Call, x_spec):
    # XLA reuses a donated buffer only for a result that aliases it: return the factors.
    a, b = programs.matrix_on_mesh(a, call.ranks), programs.on_mesh(b, call.ranks)
    x, info, factors = rules.factor_and_solve(call, x_spec, a, b)
    return x, status_of(info), factors.data
