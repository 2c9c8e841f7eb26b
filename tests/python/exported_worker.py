"""Worker process that saves a program, or runs a saved program: exported_worker.py TASK PATH.

test_exported.py starts it. The tasks that run a program only import `jaxmg`.
"""

import pickle
import sys
from pathlib import Path

import jax
import jaxmg
import numpy as np
from jax.experimental import serialize_executable
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

MESH = Mesh(np.array(jax.devices()), ("x",))
ROWS, EVERYWHERE = NamedSharding(MESH, P("x", None)), NamedSharding(MESH, P())


def system():
    g = np.random.default_rng(0).standard_normal((6, 6))
    return g @ g.T + np.eye(6), g[:, :2]


def placed_system():
    a, b = system()
    return jax.device_put(a, ROWS), jax.device_put(b, EVERYWHERE)


@jax.jit
def everything(a, b):
    """Call every routine, and a derivative."""
    factor, lu = jaxmg.linalg.cho_factor(a), jaxmg.linalg.lu_factor(a)
    triangle = factor.lower()
    return (
        jaxmg.linalg.solve(a, b, assume_a="pos"),
        factor.solve(b),
        factor.inv(),
        triangle,
        jaxmg.linalg.logdet(a),
        jaxmg.linalg.eigh(a).eigenvalues,
        jax.grad(jaxmg.linalg.logdet)(a),
        jaxmg.linalg.solve(a, b),
        lu.solve(b),
        lu.inv(),
        jaxmg.linalg.solve_triangular(triangle, b, lower=True),
    )


@jax.jit
def one_call(a, b):
    return jaxmg.linalg.solve(a, b, assume_a="pos")


def check(results):
    a, b = system()
    x, inverse = np.linalg.solve(a, b), np.linalg.inv(a)
    triangle, logdet = np.linalg.cholesky(a), np.linalg.slogdet(a)[1]
    y = np.linalg.solve(triangle, b)
    known = (x, x, inverse, triangle, logdet, np.linalg.eigvalsh(a), inverse, x, x, inverse, y)
    for result, expected in zip(results, known, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10)


def export(path, platform="cpu", what="everything"):
    from jax.export import DisabledSafetyCheck, export

    names = ("roll_call", "posv", "potrf", "potrs", "potri", "lower", "diagonal", "syevd",
             "gesv", "getrf", "getrs", "getri", "trtrs")  # fmt: skip
    checks = [DisabledSafetyCheck.custom_call(f"jaxmg_{name}") for name in names]
    program = export(globals()[what], platforms=[platform], disabled_checks=checks)
    exported = program(*placed_system())
    path.write_bytes(exported.serialize())


def run(path):
    from jax.export import deserialize

    program = deserialize(bytearray(path.read_bytes()))
    return jax.block_until_ready(jax.jit(program.call)(*placed_system()))


def run_exported(path):
    check(run(path))


def run_exported_without_blas(path):
    """Run a program of one call: in others, devices would wait in XLA for one that failed."""

    def fail(_):
        raise RuntimeError("SciPy is broken")

    jaxmg._native.blas.hand_over = fail
    try:
        run(path)
    except jax.errors.JaxRuntimeError as error:
        assert "SciPy is broken" in str(error)
    else:
        raise AssertionError("a program without BLAS has run")


def serialize(path):
    compiled = everything.lower(*placed_system()).compile()
    path.write_bytes(pickle.dumps(serialize_executable.serialize(compiled)))


def run_serialized(path):
    compiled = serialize_executable.deserialize_and_load(*pickle.loads(path.read_bytes()))
    check(compiled(*placed_system()))


def cache(path, *order):
    """Compile programs in the given order, with the persistent compilation cache at `path`."""
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    linalg, (a, b) = jaxmg.linalg, placed_system()

    @jax.jit
    def solve_twice(a, b):
        return linalg.solve(a, linalg.solve(a, b, assume_a="pos"), assume_a="pos")

    programs = (
        lambda: linalg.solve(a, b, assume_a="pos"),
        lambda: linalg.eigh(a),
        lambda: linalg.logdet(a),
        lambda: solve_twice(a, b),
        lambda: jax.jit(jax.grad(linalg.logdet))(a),
    )
    assert len(order) == len(programs)
    for i in order:
        jax.block_until_ready(programs[int(i)]())


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    _, task, where, *rest = sys.argv
    globals()[task](Path(where), *rest)
    print("fine")
