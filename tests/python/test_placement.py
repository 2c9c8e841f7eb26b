"""Placement of matrices, factors and right-hand sides, with any mesh set, inside and outside jit.

The placements of the arrays of a call are random. Arrays that a call cannot move together raise a
ValueError that names the argument; other calls give NumPy's values, and x has b's sharding.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxmg import linalg
from systems import gaussian, positive_definite, set_mesh

N = 4
A, B, C = positive_definite(N), gaussian((N,)), gaussian((N, N), seed=1)
OTHER = positive_definite(N, seed=2)
W, V = np.linalg.eigh(A)
BETWEEN = (W[0] - 0.1, (W[2] + W[3]) / 2)
MANY = settings(max_examples=40, deadline=None, derandomize=True)

needs_eight = pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 devices")


def _of_eigenvalues(f):
    return (V * f(W)) @ V.T


def _on_device(value):
    """Return a scalar on a device other than most matrices, if a mesh is set."""
    return jax.device_put(np.float32(value), jax.devices()[6])


# Name: (function of a, NumPy's result).
OF_A = {
    "cholesky": (linalg.cholesky, np.linalg.cholesky(A)),
    "inv": (lambda a: linalg.inv(a, assume_a="pos"), np.linalg.inv(A)),
    "general inv": (lambda a: linalg.inv(a), np.linalg.inv(A)),
    "det": (linalg.det, np.linalg.det(A)),
    "general slogdet": (linalg.slogdet, np.linalg.slogdet(A)),
    "logdet": (linalg.logdet, np.log(np.linalg.det(A))),
    "slogdet": (lambda a: linalg.slogdet(a, assume_a="pos"), np.linalg.slogdet(A)),
    "shift": (
        lambda a: linalg.cho_factor_shifted(a, shift=1e-3)[0].logdet(),
        np.log(np.linalg.det(A)),
    ),
    "shift on a device": (
        lambda a: linalg.cho_factor_shifted(a, shift=_on_device(2), max_tries=1)[1],
        0.0,
    ),
    "default shift": (lambda a: linalg.cho_factor_shifted(a)[1], 0.0),
    "eigh": (lambda a: linalg.eigh(a).eigenvalues, W),
    "eigh by index": (lambda a: linalg.eigh(a, subset_by_index=(1, 2)).eigenvalues, W[1:3]),
    "eigh by value": (lambda a: linalg.eigh(a, subset_by_value=BETWEEN, size=3)[0], W[:3]),
    "eigvalsh": (linalg.eigvalsh, W),
    "eigvalsh by value": (
        lambda a: linalg.eigvalsh(a, subset_by_value=(_on_device(-1), BETWEEN[1]), size=3)[0],
        W[:3],
    ),
    "pinvh": (linalg.pinvh, np.linalg.inv(A)),
    "pinvh rtol": (
        lambda a: linalg.pinvh(a, rtol=W[2] / W[3] * 1.01),
        _of_eigenvalues(lambda w: (w > W[2]) / w),
    ),
    "pinvh rtol on a device": (lambda a: linalg.pinvh(a, rtol=_on_device(1e-5)), np.linalg.inv(A)),
    "sqrtm_h": (linalg.sqrtm_h, _of_eigenvalues(np.sqrt)),
}

# Name: (function of a and b, b, NumPy's result).
OF_A_AND_B = {
    "solve a general system": (linalg.solve, B, np.linalg.solve(A, B)),
    "solve a triangular system": (
        linalg.solve_triangular,
        C,
        scipy.linalg.solve_triangular(A, C),
    ),
    "solve": (
        lambda a, b: linalg.solve(a, b, assume_a="pos"),
        B,
        np.linalg.solve(A, B),
    ),
    "solve for a matrix": (
        lambda a, b: linalg.solve(a, b, assume_a="pos"),
        C,
        np.linalg.solve(A, C),
    ),
    "eigh": (lambda a, b: linalg.eigh(a, b).eigenvalues, OTHER, scipy.linalg.eigvalsh(A, OTHER)),
    "eigvalsh": (linalg.eigvalsh, OTHER, scipy.linalg.eigvalsh(A, OTHER)),
}
OF_FACTOR_AND_B = {
    "cho_solve": (linalg.cho_solve, B, np.linalg.solve(A, B)),
    "cho_solve for a matrix": (linalg.cho_solve, C, np.linalg.solve(A, C)),
    "solve_triangular": (
        linalg.solve_triangular,
        B,
        scipy.linalg.solve_triangular(np.linalg.cholesky(A), B, lower=True),
    ),
}


def _mesh(name, kind):
    first, shape, names = {
        "line": (0, (4,), "x"),
        "grid": (0, (2, 2), "pq"),
        "other": (4, (4,), "x"),
        "pair": (4, (2,), "q"),
    }[name]
    devices = np.array(jax.devices()[first : first + int(np.prod(shape))]).reshape(shape)
    return Mesh(devices, tuple(names), axis_types=(getattr(AxisType, kind),) * len(shape))


MESHES = [
    (name, kind) for name in ("line", "grid", "other", "pair") for kind in ("Auto", "Explicit")
]
LAYOUTS = ("rows", "columns", "both", "replicated")
PLACES = st.sampled_from(["NumPy", "JAX", 0, 5, "mesh of one"]) | st.tuples(
    st.sampled_from(MESHES), st.sampled_from(LAYOUTS)
)
CONTEXTS = st.none() | st.sampled_from(MESHES)
# The arguments that are passed to jit; the others are closed over.
MODES = st.sampled_from(["eager", "ab", "a", "b", ""])


def _put(array, place):
    if place == "NumPy":
        return array
    if place == "JAX":
        return jnp.asarray(array)
    if place == "mesh of one":
        return jax.device_put(array, NamedSharding(Mesh(np.array(jax.devices()[3:4]), "o"), P()))
    if isinstance(place, int):
        return jax.device_put(array, jax.devices()[place])
    mesh, layout = _mesh(*place[0]), place[1]
    rows, columns = mesh.axis_names[0], mesh.axis_names[-1]
    if layout == "both" and len(mesh.axis_names) == 1:
        layout = "rows"
    spec = {
        "rows": (tuple(mesh.axis_names), None),
        "columns": (None, columns),
        "both": (rows, columns),
        "replicated": (),
    }[layout]
    return jax.device_put(array, NamedSharding(mesh, P(*spec[: array.ndim])))


def _entered(context):
    return contextlib.nullcontext() if context is None else set_mesh(_mesh(*context))


def _devices(array):
    """Return the devices to which an array is committed."""
    committed = isinstance(array, jax.Array) and array.committed
    return frozenset(array.sharding.device_set) if committed else frozenset()


def _run(function, arguments, mode):
    """Call the function in a jit with the arguments in `mode`, which closes over the others."""
    if mode == "eager":
        return function(*arguments.values())
    passed = {name: value for name, value in arguments.items() if name in mode}
    return jax.jit(lambda passed: function(*(arguments | passed).values()))(passed)


def _touch(*arguments):
    return jax.tree.map(lambda array: array * 2, arguments)


def _jax_refuses(arguments, mode):
    """Return whether JAX itself rejects the arguments in such a jit."""
    try:
        _run(_touch, arguments, mode)
    except ValueError:
        return True
    return False


def _may_refuse(arrays, arguments, mode, context):
    """Return whether a call in jit cannot move its arguments together, by the documentation."""
    fixed = {_mesh(*context)} if context else set()
    for array in arrays.values():
        sharding = getattr(array, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.mesh.size > 1:
            if any(kind == AxisType.Explicit for kind in sharding.mesh.axis_types):
                fixed.add(sharding.mesh)
    # The mesh must have the axes of a factor of several ranks.
    fixed |= {
        factor.data.sharding.mesh
        for factor in arguments.values()
        if isinstance(factor, linalg.CholeskyFactor) and factor.ranks > 1
    }
    several = [name for name, array in arrays.items() if len(_devices(array)) > 1]
    passed = [name for name in arrays if name in mode]
    one = any(len(_devices(arrays[name])) == 1 for name in passed)
    on_mesh = {arrays[name].sharding.mesh for name in several if name in passed}
    constants = any(name not in passed for name in several)
    # The device of an argument is unknown while tracing. An Explicit mesh is known, and without any
    # other mesh, the mesh of a constant. An argument may then be on other devices than that.
    apart = constants and len({_devices(arrays[name]) for name in several}) > 1
    many = len(fixed | (on_mesh if fixed else set())) > 1
    return many or apart or (one and constants and not context)


def _check(function, expected, arguments, arrays, mode, context):
    with _entered(context):
        if mode != "eager":
            assume(not _jax_refuses(arguments, mode))
        several = {devices for array in arrays.values() if len(devices := _devices(array)) > 1}
        if mode == "eager" and len(several) > 1:
            with pytest.raises(ValueError, match="^b lives on the devices"):
                _run(function, arguments, mode)
            return None
        try:
            result = _run(function, arguments, mode)
        except ValueError as error:
            may = mode != "eager" and _may_refuse(arrays, arguments, mode, context)
            if may and any(
                known in str(error)
                for known in (
                    "but the mesh of the call is",
                    "the factor was made on",
                    "lives on the devices",
                    "Received incompatible devices",  # JAX's error, which also names the argument.
                    "of device assignment",
                )
            ):
                return None
            raise
    jax.tree.map(
        lambda x, known: np.testing.assert_allclose(np.asarray(x), known, rtol=1e-6, atol=1e-7),
        tuple(result) if isinstance(result, tuple) else result,
        tuple(expected) if isinstance(result, tuple) else expected,
    )
    return result


@needs_eight
@MANY
@given(st.sampled_from(sorted(OF_A)), PLACES, CONTEXTS, st.sampled_from(["eager", "a", ""]))
def test_functions_of_a_matrix(name, place, context, mode):
    function, expected = OF_A[name]
    arguments = {"a": _put(A, place)}
    _check(function, expected, arguments, arguments, mode, context)


@needs_eight
@MANY
@given(st.sampled_from(sorted(OF_A_AND_B)), PLACES, PLACES, CONTEXTS, MODES)
def test_functions_of_a_matrix_and_another_operand(name, place_a, place_b, context, mode):
    function, b, expected = OF_A_AND_B[name]
    arguments = {"a": _put(A, place_a), "b": _put(b, place_b)}
    x = _check(function, expected, arguments, arguments, mode, context)
    if x is not None and name.startswith("solve"):
        _check_sharding(x, arguments["b"], mode)


@needs_eight
@MANY
@given(st.sampled_from(sorted(OF_FACTOR_AND_B)), PLACES, PLACES, CONTEXTS, CONTEXTS, MODES)
def test_functions_of_a_factor(name, place_a, place_b, context_of_factor, context, mode):
    function, b, expected = OF_FACTOR_AND_B[name]
    with _entered(context_of_factor):
        factor = linalg.cho_factor(_put(A, place_a))
    arguments = {"a": factor, "b": _put(b, place_b)}
    arrays = {"a": factor.data, "b": arguments["b"]}
    x = _check(function, expected, arguments, arrays, mode, context)
    if x is not None:
        _check_sharding(x, arguments["b"], mode)


def _check_sharding(x, b, mode):
    """Check that x has the sharding of b if it is known while tracing."""
    explicit = isinstance(b, jax.Array) and jax.typeof(b).sharding.mesh.explicit_axes
    if _devices(b) and (mode == "eager" or explicit):
        assert x.sharding.is_equivalent_to(b.sharding, b.ndim)
