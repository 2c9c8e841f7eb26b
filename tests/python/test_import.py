"""Importing has no side effects, and missing libraries are reported once."""

import ctypes
import os
import subprocess
import sys
import textwrap

import jax
import jaxmg
import pytest
from jaxmg._native import cuda, loading
from jaxmg.utils import JaxMgWarning


def run(program, **environment):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_starts_no_backend_and_changes_no_configuration():
    out = run(
        """
        import jax
        before = dict(jax.config.values)
        import jaxmg
        assert dict(jax.config.values) == before
        import socket
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        jax.distributed.initialize(f"localhost:{port}", 1, 0)  # Refuses once a backend runs.
        print("fine")
        """,
        JAX_PLATFORMS="cpu",
    )
    assert "fine" in out


def error_of_the_first_call(libraries):
    """Return the printed error of a first call with this folder of libraries."""
    return run(
        """
        import jaxmg
        try:
            jaxmg.linalg.solve([[1.0]], [1.0], assume_a="pos")
        except RuntimeError as error:
            print(error)
        """,
        JAX_PLATFORMS="cpu",
        JAXMG_LIBRARY_DIR=str(libraries),
    )


def test_import_does_not_need_the_native_library(tmp_path):
    out = error_of_the_first_call(tmp_path)
    assert f"host library {tmp_path}" in out and "reinstall jaxmg" in out


def test_version_is_above_both_lines_of_jaxmg():
    """Callers compare it: NetKet 3.23 requires 1.4.1 or newer."""
    assert tuple(int(part) for part in jaxmg.__version__.split(".")) >= (2, 0, 0)


def test_a_broken_native_library_is_reported_by_the_first_call(tmp_path):
    (tmp_path / "libjaxmg_host.so").write_text("not a library")
    out = error_of_the_first_call(tmp_path)
    assert f"loading jaxmg's host library failed: {tmp_path}" in out


def test_import_registers_the_handlers_of_all_platforms_and_loads_nothing_else():
    out = run(
        """
        import sys
        import jax
        registered = set()
        register = jax.ffi.register_ffi_target

        def note(name, *arguments, platform, **options):
            registered.add((name, platform))
            register(name, *arguments, platform=platform, **options)

        jax.ffi.register_ffi_target = note
        loaded = set(sys.modules)
        import jaxmg
        from jaxmg._native import plans
        names = [f"jaxmg_{name}" for name in ("roll_call", *plans.routines())]
        assert registered == {(name, platform) for name in names for platform in ("cpu", "CUDA")}
        new = {name.partition(".")[0] for name in set(sys.modules) - loaded}
        assert not new & {"scipy", "cuda", "nvidia"}, new
        libraries = open("/proc/self/maps").read()
        assert "libjaxmg_host.so" in libraries and "libjaxmg_cuda" not in libraries
        print("fine")
        """
    )
    assert "fine" in out


def test_a_handler_that_cannot_be_loaded_is_reported_to_xla(gpu_machine):
    message = ctypes.create_string_buffer(128)
    address = ctypes.addressof(message)
    assert loading.find_handler(b"gpu", b"posv", address, len(message)) is None
    assert message.value.startswith(b"jaxmg cannot run on GPUs: JAX's plugin is for CUDA 13")
    assert len(message.value) == len(message) - 1
    assert loading.find_handler(b"cpu", b"posv", address, len(message))


@pytest.fixture
def gpu_machine(monkeypatch, tmp_path):
    """A machine with a GPU, JAX's plugin for CUDA 13, and jaxmg without CUDA libraries."""
    monkeypatch.setenv("JAXMG_LIBRARY_DIR", str(tmp_path))
    monkeypatch.setattr(cuda, "gpu_present", lambda: True)
    monkeypatch.setattr(
        cuda.importlib.util,
        "find_spec",
        lambda name: object() if name == "jax_cuda13_plugin" else None,
    )
    jax_platforms = jax.config.jax_platforms
    jax.config.update("jax_platforms", None)
    cuda._load_cuda_once.cache_clear()
    yield tmp_path
    cuda._load_cuda_once.cache_clear()
    jax.config.update("jax_platforms", jax_platforms)


def test_warning_on_a_gpu_machine_without_cuda_library(gpu_machine):
    with pytest.warns(JaxMgWarning, match="CPU only.*CUDA 13.*libjaxmg_cuda13.so"):
        cuda.warn_if_gpu_is_unusable()


def test_warning_without_plugin(gpu_machine, monkeypatch):
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    with pytest.warns(JaxMgWarning, match=r"install jaxmg\[cuda13\]"):
        cuda.warn_if_gpu_is_unusable()


def test_no_warning_if_jax_is_set_to_use_the_cpu(gpu_machine, recwarn):
    jax.config.update("jax_platforms", "cpu")
    cuda.warn_if_gpu_is_unusable()
    assert not recwarn.list


def test_a_call_for_gpus_reports_why_it_cannot_run(gpu_machine, monkeypatch):
    monkeypatch.setattr(loading, "host_library", lambda: None)
    with pytest.raises(RuntimeError, match="cannot run on GPUs: .*libjaxmg_cuda13.so"):
        loading.require("gpu")
    (gpu_machine / "libjaxmg_cuda13.so").write_text("not a library")
    cuda._load_cuda_once.cache_clear()
    with pytest.raises(RuntimeError, match="cannot run on GPUs: loading .* failed"):
        loading.require("gpu")


def test_an_unknown_platform():
    with pytest.raises(RuntimeError, match="not on platform 'tpu'"):
        loading.require("tpu")
