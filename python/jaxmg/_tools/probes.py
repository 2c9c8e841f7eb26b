"""Probes of ``python -m jaxmg doctor``, which run in child processes.

``python -m jaxmg._tools.probes FOLDER PROBE`` writes its findings to files in the folder, since
libraries may print to standard output.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxmg
from jaxmg import linalg
from jaxmg._native import c_interface, cuda, loading
from jaxmg._tools.doctor import OK, PROBLEM, WARNING

_GIB = 2**30
_LIBRARIES = {"cudart": "CUDA runtime", "cublas": "cuBLAS", "cusolver": "cuSOLVER", "nccl": "NCCL"}


class Notes:
    """Findings and facts of a probe, written to files that the parent reads."""

    def __init__(self, folder: str):
        self._folder = Path(folder)

    def __call__(self, state: str, text: str, advice: str = "") -> None:
        with (self._folder / "findings").open("a") as out:
            print(json.dumps([state, text, advice]), file=out)

    def fact(self, **values) -> None:
        draft = self._folder / "draft"
        draft.write_text(json.dumps(values))
        draft.rename(self._folder / "fact")


# --- libraries --------------------------------------------------------------------------------


def libraries(note: Notes) -> None:
    try:
        loading.require("cpu")
    except (RuntimeError, OSError) as error:
        note(
            PROBLEM,
            f"for CPUs: {error}",
            "Install its wheel or its checkout again, with pip install --force-reinstall.",
        )
        return
    note(OK, f"for CPUs: {c_interface.library_dir() / 'libjaxmg_host.so'}")
    if not cuda.gpu_present():
        note(OK, "for GPUs: not needed, without a GPU and JAX's plugin for CUDA")
        return
    try:
        library = cuda.library()
    except RuntimeError as error:
        note(PROBLEM, f"for GPUs: {error}", "See docs/troubleshooting.md, Installation.")
        return
    note(OK, f"for GPUs: {library._name}")
    paths = loaded_libraries(Path("/proc/self/maps").read_text())
    for finding in version_findings(cuda.versions(), paths):
        note(*finding)


def loaded_libraries(maps: str) -> dict[str, list[str]]:
    """Return the files of NVIDIA's libraries in a memory map: {"nccl": ["/.../libnccl.so.2"]}."""
    paths = sorted(set(re.findall(r"/\S+/lib\w+\.so\S*", maps)))
    return {name: [path for path in paths if f"/lib{name}.so" in path] for name in _LIBRARIES}


def version_findings(versions: dict[str, int], paths: dict[str, list[str]]) -> Iterator[tuple]:
    """Check the versions of NVIDIA's libraries from `cuda.versions`."""
    driver = versions["driver"]
    text = f"driver for CUDA up to {_dotted(driver)}"
    if driver == 0:
        yield PROBLEM, "NVIDIA's driver is not loaded", "Does this machine or container have a GPU?"
    elif driver // 10000 < versions["cudart"] // 10000:
        yield PROBLEM, text, f"It is older than CUDA {_dotted(versions['cudart'])}: update it."
    else:
        yield OK, text
    for name, title in _LIBRARIES.items():
        text = f"{title} {_dotted(versions[name])}: {', '.join(paths[name])}"
        if len(paths[name]) > 1:
            yield WARNING, text, "It is loaded twice. Unset LD_LIBRARY_PATH if it is not needed."
        else:
            yield OK, text


def _dotted(version: int) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


# --- devices ----------------------------------------------------------------------------------


def devices(note: Notes) -> None:
    found = jax.devices()
    platform = found[0].platform
    note.fact(platform=platform, count=len(found))
    for device in found:
        memory = (device.memory_stats() or {}).get("bytes_limit")
        text = f"{device}: {device.device_kind}"
        text += f", JAX may use {memory / _GIB:.1f} GiB" if memory else ""
        capability = getattr(device, "compute_capability", None)
        if platform == "gpu" and capability is not None and float(capability) < 8:
            advice = "jaxmg needs a GPU of compute capability 8.0 or newer."
            note(PROBLEM, f"{text}, compute capability {capability}", advice)
        else:
            note(OK, text)
    kinds = {device.device_kind for device in found}
    if len(kinds) > 1:
        advice = "Use devices of only one kind in a mesh."
        note(WARNING, f"devices of several kinds: {', '.join(sorted(kinds))}", advice)
    if platform == "cpu" and cuda.gpu_present():
        advice = "Unset JAX_PLATFORMS if it is set, or install JAX's CUDA plugin."
        note(WARNING, "a GPU or a CUDA plugin was found, but JAX uses the CPU", advice)
    if platform == "gpu" and len(found) > 1:
        numbers = [device.local_hardware_id for device in jax.local_devices()]
        links = {pair: cuda.link(*pair) for pair in permutations(numbers, 2)}
        for finding in link_findings(links):
            note(*finding)


def link_findings(links: dict[tuple[int, int], tuple[bool, bool]]) -> Iterator[tuple]:
    """Check the links between GPUs: {(from, to): (peer access, NVLink)}."""
    apart = [pair for pair, (access, _) in links.items() if not access]
    slow = [pair for pair, (access, nvlink) in links.items() if access and not nvlink]
    if apart:
        advice = "Their calls go through NCCL and host memory, which is slow."
        yield WARNING, f"no peer access to each other's memory: {_pairs(apart)}", advice
    if slow:
        advice = "Solves will be slow; nvidia-smi topo -m shows the links."
        yield WARNING, f"peer access over PCI Express, without NVLink: {_pairs(slow)}", advice
    if not apart and not slow:
        count = len({device for pair in links for device in pair})
        yield OK, f"all {count} GPUs access each other's memory over NVLink"


def _pairs(pairs: list[tuple[int, int]]) -> str:
    ends = sorted({tuple(sorted(pair)) for pair in pairs})
    return ", ".join(f"GPU {one} and {other}" for one, other in ends)


# --- backends ---------------------------------------------------------------------------------


def backends(note: Notes) -> None:
    asked = jaxmg.config.backend
    for backend in jaxmg.backends():
        if backend.available or backend.name != asked:
            note(OK, str(backend))
        else:
            note(PROBLEM, str(backend), "Install it, or unset JAXMG_BACKEND.")


# --- solves -----------------------------------------------------------------------------------


def solves(note: Notes) -> None:
    _solve_on(note, jax.devices())


def member(note: Notes, port: str, processes: str, number: str, on_cpu: str) -> None:
    """Solve as one of several processes."""
    own = {"local_device_ids": [int(number)]}
    if int(on_cpu):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        own = {}
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(number), **own)
    _solve_on(note, jax.devices())
    if not int(on_cpu) and int(processes) > 1:
        note(*exchange_finding(cuda.exchange_between_processes()))


def exchange_finding(how: str) -> tuple:
    """Judge how the GPUs of several processes exchanged blocks, see `cuda`."""
    if "(CUDA IPC)" in how:
        return OK, how
    if how.endswith("JAXMG_TRANSPORT=nccl"):
        return WARNING, how, "Unset JAXMG_TRANSPORT: CUDA IPC is faster."
    return WARNING, how, "This is slower. See docs/multi_process.md, Transports."


def _solve_on(note: Notes, found) -> None:
    jax.config.update("jax_enable_x64", True)
    jaxmg.config.update("one_rank_up_to", 0)  # All devices are to take part.
    mesh = Mesh(np.array(found), ("x",))
    n = (64 if found[0].platform == "cpu" else 256) * len(found)
    random = np.random.default_rng(0)
    g = random.standard_normal((n, n))
    a = _placed(g @ g.T / n + np.eye(n), mesh, P("x", None))
    b = _placed(random.standard_normal((n, 2)), mesh, P())
    where = f"(N = {n}, devices: {len(found)}, processes: {jax.process_count()})"
    checks = {
        "gesv": _solve_general,
        "potrs": _solve,
        "potri": _invert,
        "orgqr": _orthogonalise,
        "syevd": _decompose,
        "gesvd": _decompose_general,
    }
    for name, check in checks.items():
        began = time.perf_counter()
        error = float(check(a, b)) / (n * np.finfo(np.float64).eps)
        text = f"{name}: residual {error:.2g} N eps {where}"
        if error <= 30:  # Threshold of LAPACK's tests.
            note(OK, f"{text}, first call {time.perf_counter() - began:.1f} s")
        else:
            note(PROBLEM, text, "The result is wrong. Please report it, with this output.")


def _placed(array: np.ndarray, mesh: Mesh, spec: P) -> jax.Array:
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _solve_general(a, b):
    a = 2 * jnp.triu(a) - a
    return _residual(a, linalg.solve(a, b), b)


def _solve(a, b):
    return _residual(a, linalg.solve(a, b, assume_a="pos"), b)


def _residual(a, x, b):
    return jnp.linalg.norm(a @ x - b) / (jnp.linalg.norm(a) * jnp.linalg.norm(x))


def _invert(a, b):
    x = linalg.inv(a, assume_a="pos")
    return jnp.linalg.norm(a @ x - jnp.eye(a.shape[0])) / (jnp.linalg.norm(a) * jnp.linalg.norm(x))


def _orthogonalise(a, b):
    q, r = linalg.qr(a)
    residual = jnp.linalg.norm(q @ r - a) / jnp.linalg.norm(a)
    return jnp.maximum(residual, jnp.linalg.norm(q.T @ q - jnp.eye(a.shape[0])))


def _decompose(a, b):
    w, v = linalg.eigh(a)
    residual = jnp.linalg.norm(a @ v - v * w) / jnp.linalg.norm(a)
    return jnp.maximum(residual, jnp.linalg.norm(v.T @ v - jnp.eye(a.shape[0])))


def _decompose_general(a, b):
    a = 2 * jnp.triu(a) - a
    u, s, vh = linalg.svd(a)
    residual = jnp.linalg.norm((u * s) @ vh - a) / jnp.linalg.norm(a)
    return jnp.maximum(residual, jnp.linalg.norm(u.T @ u - jnp.eye(a.shape[0])))


PROBES = {probe.__name__: probe for probe in (libraries, devices, backends, solves, member)}


def main(folder: str, probe: str, *arguments: str) -> None:
    note = Notes(folder)
    try:
        PROBES[probe](note, *arguments)
    except Exception as error:
        note(PROBLEM, f"{type(error).__name__}: {error}")
        os._exit(1)  # A regular exit would wait for other processes, which may wait for this one.


if __name__ == "__main__":
    main(*sys.argv[1:])
