"""`potrs` and `potri` of JAXMg 0.0.x, and their ``*_shardmap_ctx`` variants."""

import math

from jax.sharding import PartitionSpec

from jaxmg._arguments import (
    ArgumentError,
    as_array,
    as_arrays,
    check_right_hand_side,
    check_square,
    positive_int,
)
from jaxmg._linalg.options import Options, make_call, takes
from jaxmg._mesh import placement, programs
from jaxmg._mesh.finding import ranks_of
from jaxmg._mesh.manual import in_shard_map
from jaxmg._mesh.ranks import row_spec
from jaxmg._mesh.specs import spec_on
from jaxmg._programs import cholesky, row_blocks
from jaxmg._programs.call import Call, Placement
from jaxmg._rules import cholesky as rules
from jaxmg.compat.arguments import Specs, Where, located, named_ranks, on_mesh, on_shards, status_of


@takes("backend", "donate")
def potrs(
    a,
    b,
    T_A=None,
    mesh=None,
    in_specs=None,
    return_status=False,
    pad=True,
    *,
    matrix_specs=None,
    options: Options,
):
    """Solve ``a @ x = b`` for a Hermitian positive definite `a`, by Cholesky factorisation.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128. Only the upper triangle, the elements
        ``a[i, j]`` with ``j >= i``, is read. It is moved to the sharding given by `in_specs`.
    b : (N,) or (N, nrhs) array
        Right-hand sides. Dtypes are promoted as by `jaxmg.linalg.solve`.
    T_A : int, optional
        Tile size, a hint: any value from 1 up; the result does not depend on it beyond rounding.
    mesh : Mesh or AbstractMesh, optional
        The devices; by default the devices of the arrays.
    in_specs : PartitionSpec or sequence of one or two, optional
        ``P(axis, None)`` for `a`, and a replicated spec for `b`; by default read off `a`.
    return_status : bool
        Append the status to the result.
    pad : bool
        Accepted and ignored: no array is padded to the tile size.
    matrix_specs : PartitionSpec or sequence of one, optional
        1.4's name for the spec of `a`. It may shard rows, columns or both. If `in_specs` is also
        given, the two must agree.
    {options}

    Returns
    -------
    x : (N, nrhs) array
        Fully replicated, in the common dtype of `a` and `b`; (N, 1) for a 1-D b. All NaN on
        failure.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` is not positive definite.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is invalid. Shape errors are also AssertionErrors.
    TypeError
        If a dtype or the type of `in_specs` or `mesh` is invalid.

    See Also
    --------
    jaxmg.linalg.solve : the same algorithm; its docstring names the source.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> x = jaxmg.potrs(2 * jnp.eye(n), jnp.ones(n), 4, mesh, P("x", None))
    >>> x.shape == (n, 1)
    True
    """
    del pad
    a, b = as_arrays(("a", a), ("b", b))
    check_square(a)
    check_right_hand_side(a, b)
    tile = positive_int(T_A, "T_A")
    specs = Specs.given(in_specs, matrix_specs, with_b=True)
    ranks = named_ranks(mesh, specs, (a, b))
    call = make_call("potrs", a, ranks, options.with_tile(tile), count=math.prod(b.shape[1:]))
    placed = placement.place_all(call.ranks, a, b)
    replicated = PartitionSpec(None, None)
    x, status, _ = _potrs(*placed, call=call, x_spec=replicated, column=True, donate=options.donate)
    return (x, status) if return_status else x


@programs.program("x_spec", "column")
def _potrs(a, b, *, call: Call, x_spec, column: bool):
    # XLA reuses a donated buffer only for a result that aliases it: return the factor.
    a = programs.matrix_on_mesh(a, call.ranks)
    b = programs.on_mesh(b[:, None] if column and b.ndim == 1 else b, call.ranks)
    x, info, factor = rules.factor_and_solve(call, x_spec, a, b)
    return x, status_of(info), factor


@takes("backend")
@located
def potrs_shardmap_ctx(a, b, T_A=None, pad=True, *, where: Where, options: Options):
    """Solve ``A @ x = b`` for global arrays (1.4) or inside the caller's ``shard_map`` (0.0.x).

    Inside ``shard_map`` the arguments are the shards of one rank and the result is ``(x, status)``.
    Elsewhere, in ``jit`` or not, they are global arrays and the result is ``(A_work, x, status)``.

    Parameters
    ----------
    a : (N, N) array, or inside ``shard_map`` (N / P, N)
        The matrix, as for `potrs`, with any sharding. Inside ``shard_map``, this rank's rows of it.
    b : (N,) or (N, nrhs) array, or inside ``shard_map`` (N, nrhs)
        Right-hand sides, with any sharding. Inside ``shard_map``, all right-hand sides, replicated.
    T_A : int, optional
        Tile size, a hint.
    pad : bool
        Accepted and ignored.
    {where}
    {options}

    Returns
    -------
    A_work : (N, N) array
        Only outside ``shard_map``: the work array of 1.4, with undefined contents.
    x : array
        Outside ``shard_map``, with the shape and the sharding of `b`. Inside, (N, nrhs),
        replicated. All NaN on failure.
    status : int32 array
        0, or 7 if the matrix is not positive definite; replicated. The shape is (), or (1,) inside
        ``shard_map``.

    Raises
    ------
    ValueError
        If a shape, `T_A`, `mesh` or a spec is invalid, `axis_name` is given outside ``shard_map``,
        or no axis of the mesh fits the shape of `a` inside. Shape errors are also AssertionErrors.
    TypeError
        If a dtype or the type of `mesh` or a spec is invalid.

    Notes
    -----
    No argument is overwritten. With Auto axes, the sharding of an array is unknown inside ``jit``:
    XLA then chooses the sharding of x.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> _, x, status = jaxmg.potrs_shardmap_ctx(4 * jnp.eye(3), jnp.ones(3), T_A=2)
    >>> x.tolist(), int(status)
    ([0.25, 0.25, 0.25], 0)
    """
    del pad
    specs = where.specs(with_b=True)
    a, b = as_arrays(("a", a), ("b", b))
    if in_shard_map():
        if b.ndim != 2:
            raise ArgumentError(f"b must be a 2D array inside shard_map, got shape {b.shape}")
        a, call = on_shards("potrs", a, T_A, where, specs, options, count=b.shape[1])
        check_right_hand_side(a, b)
        x, info = cholesky.posv_on_shards(a, b, call)
        return x, status_of(info)[None]
    nrhs = math.prod(b.shape[1:])
    a, call, _ = on_mesh("potrs", a, T_A, where, specs, options, b, count=nrhs)
    x_spec = spec_on(b, call.ranks.mesh)
    placed = placement.place_all(call.ranks, a, b)
    x, status, _ = _potrs(*placed, call=call, x_spec=x_spec, column=False)
    return a, placement.keep_sharding(x, b), status


@takes("backend", "donate")
def potri(
    a,
    T_A=None,
    mesh=None,
    in_specs=None,
    return_status=False,
    pad=True,
    *,
    matrix_specs=None,
    options: Options,
):
    """Invert a Hermitian positive definite matrix, by Cholesky factorisation.

    Parameters
    ----------
    a, T_A, mesh, in_specs, return_status, pad, matrix_specs
        As for `potrs`, with a single spec.
    {options}

    Returns
    -------
    x : (N, N) array
        The inverse, both triangles, sharded ``P(axis, None)`` if the rows divide evenly among the
        devices, or by `matrix_specs` if only that is given. All NaN on failure.
    status : () int32 array
        Only with ``return_status=True``: 0, or 7 if `a` is not positive definite.

    Raises
    ------
    ValueError, TypeError
        As `potrs` does.

    See Also
    --------
    jaxmg.linalg.inv : the same algorithm.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxmg
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("x",))
    >>> n = 4 * len(jax.devices())
    >>> x = jaxmg.potri(4 * jnp.eye(n), 4, mesh, P("x", None))
    >>> bool((x == jnp.eye(n) / 4).all())
    True
    """
    del pad
    a = as_array(a, "a")
    check_square(a)
    tile = positive_int(T_A, "T_A")
    specs = Specs.given(in_specs, matrix_specs)
    ranks = named_ranks(mesh, specs, (a,))
    call = make_call("potri", a, ranks, options.with_tile(tile))
    spec = specs.of_result(a, call.ranks, row_spec)
    (placed,) = placement.place_all(call.ranks, a)
    x, status = _potri(placed, call=call, spec=spec, donate=options.donate)
    return (x, status) if return_status else x


@programs.program("spec")
def _potri(a, *, call: Call, spec):
    a = programs.matrix_on_mesh(a, call.ranks)
    factor, info = rules.factor(call, a)
    x = rules.inverse(call, factor)
    return row_blocks.to_matrix(x, call=call, spec=spec), status_of(info)


@takes("backend")
@located
def potri_shardmap_ctx(a, T_A=None, pad=True, *, where: Where, options: Options):
    """Invert a Hermitian positive definite matrix, global (1.4) or inside ``shard_map`` (0.0.x).

    The result is ``(x, status)`` in both cases.

    Parameters
    ----------
    a, T_A, pad
        As for `potrs_shardmap_ctx`.
    {where}
    {options}

    Returns
    -------
    x : (N, N) array, or inside ``shard_map`` (N / P, N)
        The inverse, both triangles, with the sharding of `a`. Inside ``shard_map``, this rank's
        rows of it. (In JAXMg 0.0.x only the upper triangle is valid, and `potri_symmetrize` fills
        in the other.) All NaN on failure.
    status : int32 array
        As for `potrs_shardmap_ctx`.

    Raises
    ------
    ValueError, TypeError
        As `potrs_shardmap_ctx` does.

    Notes
    -----
    With Auto axes, the sharding of `a` is unknown inside ``jit``: x is then sharded by
    `matrix_specs`, by default over rows.
    """
    del pad
    specs = where.specs()
    if in_shard_map():
        a, call = on_shards("potri", a, T_A, where, specs, options)
        x, info = cholesky.inverse_on_shards(a, call)
        return x, status_of(info)[None]
    a, call, spec = on_mesh("potri", a, T_A, where, specs, options)
    x, status = _potri(*placement.place_all(call.ranks, a), call=call, spec=spec)
    return placement.keep_sharding(x, a), status


def potri_symmetrize(a):
    """Return the Hermitian matrix given by the upper triangle of `a`, the elements with ``j >= i``.

    Parameters
    ----------
    a : (N, N) array
        float32, float64, complex64 or complex128, of any sharding.

    Returns
    -------
    (N, N) array
        With the sharding of `a`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> jaxmg.potri_symmetrize(jnp.array([[1.0, 2.0], [7.0, 3.0]])).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    a = as_array(a, "a")
    check_square(a)
    ranks = ranks_of(a)
    call = Call(ranks, Placement.rows(ranks))
    (placed,) = placement.place_all(call.ranks, a)
    spec = spec_on(a, call.ranks.mesh) or row_spec(a.shape[0], call.ranks)
    return placement.keep_sharding(_symmetrized(placed, call=call, spec=spec), a)


@programs.program("spec")
def _symmetrized(a, *, call: Call, spec):
    m = row_blocks.from_triangle(a, upper=True, call=call)
    return row_blocks.to_matrix(m, call=call, spec=spec)
