"""python -m jaxmg: the doctor reports problems with advice, and always terminates."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from importlib import metadata

import jaxmg
import pytest
from jaxmg import __main__
from jaxmg._native import cuda, loading
from jaxmg._tools import doctor, probes
from jaxmg._tools.doctor import OK, PROBLEM, WARNING, Finding


def run_doctor(*arguments, **environment):
    result = subprocess.run(
        [sys.executable, "-m", "jaxmg", "doctor", *arguments],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return result.returncode, result.stdout


def test_a_sound_installation():
    status, output = run_doctor("--json")
    report = json.loads(output)
    assert status == 0 and report["counts"]["problem"] == 0, output
    found = report["findings"]
    assert any("libjaxmg_host.so" in line["text"] for line in found["Native libraries"])
    assert found["Backends"][0]["text"].startswith("tiled ")
    for title, processes in (("Solves in one process", 1), ("Solves with several processes", 2)):
        solves = found[title]
        assert [line["text"].split(":")[0] for line in solves] == [
            "gesv",
            "potrs",
            "potri",
            "orgqr",
            "syevd",
            "gesvd",
        ]
        assert all(f"processes: {processes})" in line["text"] for line in solves)


def test_no_native_library(tmp_path):
    status, output = run_doctor(JAXMG_LIBRARY_DIR=str(tmp_path))
    assert status == 1
    assert f"problem  for CPUs: jaxmg's host library {tmp_path}" in output
    assert "warning  not tried" in output and "problems: 1" in output


@pytest.fixture
def gpu_machine(monkeypatch, tmp_path):
    """A machine with a GPU, JAX's plugin for CUDA 13, and a CUDA library."""
    monkeypatch.setattr(cuda, "gpu_present", lambda: True)
    monkeypatch.setattr(cuda, "_find_cuda_library", lambda: tmp_path / "libjaxmg_cuda13.so")
    cuda._load_cuda_once.cache_clear()
    yield
    cuda._load_cuda_once.cache_clear()


def test_a_library_of_nvidia_is_missing(gpu_machine, monkeypatch):
    loading.require("cpu")
    missing = OSError("libnccl.so.2: cannot open shared object file")
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda path: (_ for _ in ()).throw(missing))
    found = []
    probes.libraries(lambda *finding: found.append(Finding(*finding)))
    assert [finding.state for finding in found] == [OK, PROBLEM]
    assert "libnccl.so.2: cannot open" in found[1].text and "troubleshooting" in found[1].advice


def test_versions_of_nvidias_libraries():
    versions = {"driver": 120800, "cudart": 130000, "cublas": 130101, "cusolver": 120003}
    versions["nccl"] = 22809
    maps = "\n".join(
        f"7f00-7f01 r-xp 00000000 08:01 7 {path}"
        for path in (
            "/a/libcudart.so.13",
            "/a/libcublasLt.so.13",
            "/a/libcublas.so.13",
            "/a/libcublas.so.13",
            "/a/libcusolver.so.12",
            "/a/libnccl.so.2",
            "/b/libnccl.so.2",
        )
    )
    paths = probes.loaded_libraries(maps)
    assert paths["cublas"] == ["/a/libcublas.so.13"]
    found = [Finding(*finding) for finding in probes.version_findings(versions, paths)]
    assert [finding.state for finding in found] == [PROBLEM, OK, OK, OK, WARNING]
    assert "12.8" in found[0].text and "update it" in found[0].advice
    assert "NCCL 2.28.9: /a/libnccl.so.2, /b/libnccl.so.2" in found[4].text
    state, text, _ = next(probes.version_findings(versions | {"driver": 0}, paths))
    assert state == PROBLEM and "not loaded" in text


def test_links_between_gpus():
    def states(**links):
        pairs = {tuple(map(int, pair[1:])): link for pair, link in links.items()}
        return [Finding(*finding) for finding in probes.link_findings(pairs)]

    nvlink, slow, none = (True, True), (True, False), (False, False)
    (fine,) = states(_01=nvlink, _10=nvlink)
    assert fine.state == OK and "all 2 GPUs" in fine.text
    apart, over_pci = states(_01=none, _10=none, _02=slow, _20=slow, _12=nvlink, _21=nvlink)
    assert apart.state == WARNING and apart.text.endswith("GPU 0 and 1") and apart.advice
    assert over_pci.state == WARNING and over_pci.text.endswith("GPU 0 and 2")


def test_exchange_between_processes():
    def finding(how):
        return Finding(*probes.exchange_finding(how))

    ipc = finding("the GPUs of several processes write to each other's memory (CUDA IPC)")
    assert ipc.state == OK and not ipc.advice
    nccl = "the GPUs of several processes exchange through NCCL instead of CUDA IPC. rank 1: "
    requested = finding(nccl + "JAXMG_TRANSPORT=nccl")
    assert requested.state == WARNING and "Unset" in requested.advice
    refused = finding(nccl + "its memory has no CUDA IPC handle")
    assert refused.state == WARNING and refused.text.endswith("has no CUDA IPC handle")


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("JAXMG_TIMEOUT_SECONDS", "60", OK),
        ("JAXMG_TIMEOUT_SECONDS", "soon", PROBLEM),
        ("JAXMG_TIMEOUT_SECONDS", "-1", PROBLEM),
        ("JAXMG_BACKEND", "tiled", OK),
        ("JAXMG_BACKEND", "scalapack", PROBLEM),
        ("JAXMG_TRANSPORT", "auto", OK),
        ("JAXMG_TRANSPORT", "nccl", WARNING),
        ("JAXMG_TRANSPORT", "mpi", PROBLEM),
        ("JAXMG_LIBRARY_DIR", "/nowhere", PROBLEM),
        ("JAXMG_INJECT_FAULT", "0:1", WARNING),
        ("NCCL_P2P_DISABLE", "1", WARNING),
        ("NCCL_P2P_DISABLE", "0", OK),
        ("XLA_PYTHON_CLIENT_MEM_FRACTION", ".95", OK),
        ("XLA_PYTHON_CLIENT_MEM_FRACTION", "95", WARNING),
        ("XLA_PYTHON_CLIENT_ALLOCATOR", "platform", WARNING),
    ],
)
def test_variables_of_the_environment(name, value, state):
    (finding,) = doctor.environment({name: value, "PATH": "/bin"})
    assert finding.state == state and finding.text == f"{name}={value}"
    assert bool(finding.advice) == (state != OK)


def test_releases():
    def states(**versions):
        def version_of(package):
            try:
                return versions[package.replace("-", "_")]
            except KeyError:
                raise metadata.PackageNotFoundError(package) from None

        return [finding.state for finding in doctor.installation(version_of)]

    assert states(jax="0.6.2", jaxlib="0.6.2") == [OK, OK]
    assert states(jax="0.6.1", jaxlib="0.6.1") == [OK, PROBLEM]
    assert states(jax="0.10.2", jaxlib="0.10.2", jax_cuda13_plugin="0.10.2") == [OK, OK, OK]
    assert states(jax="0.10.2", jaxlib="0.10.2", jax_cuda12_plugin="0.9.0") == [OK, OK, WARNING]


def test_requested_backend_is_unavailable(monkeypatch):
    monkeypatch.setenv("JAXMG_BACKEND", "cusolvermg")
    missing = (
        jaxmg.backends()[0],
        dataclasses.replace(
            jaxmg.backends()[1], available=False, version=None, reason="not installed"
        ),
    )
    monkeypatch.setattr(jaxmg, "backends", lambda: missing)
    found = []
    probes.backends(lambda *finding: found.append(Finding(*finding)))
    assert [finding.state for finding in found] == [OK, PROBLEM]
    assert "not installed" in found[1].text and "JAXMG_BACKEND" in found[1].advice


@pytest.fixture
def instead(monkeypatch, tmp_path):
    """Return a function that replaces probes by a shell script."""

    def use(script):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho so far so good\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(doctor.sys, "executable", str(program))

    return use


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("sleep 60", "was stopped while still running; the time limit is 2 s"),
        ("kill -SEGV $$", "ended with signal SIGSEGV"),
        ("exit 127", "ended with status 127"),
    ],
)
def test_probes_that_hang_or_crash(instead, tmp_path, script, text):
    half = r"""printf '["o' >> $3/findings"""
    instead(f'echo \'["ok", "a thing", ""]\' > $3/findings\n{half}\n{script}')
    began = time.monotonic()
    (before, end), fact = doctor._run(tmp_path, 2, "devices")
    assert time.monotonic() - began < 10
    assert before == Finding(OK, "a thing") and fact == {}
    assert end.state == PROBLEM and text in end.text and "so far so good" in end.advice


def test_a_process_that_fails_ends_those_that_wait_for_it(instead, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_GRACE", 0.2)
    instead("if [ $7 = 1 ]; then exit 3; fi; sleep 60")
    began = time.monotonic()
    first, second = doctor._run_together(tmp_path, 50, on_cpu=True, count=1)
    assert time.monotonic() - began < 20
    assert (
        "was stopped" in first.text and "process 1: this check ended with status 3" in second.text
    )


def test_a_failing_probe_says_why_once(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "unheard_of")
    (finding,), fact = doctor._run(tmp_path, 100, "devices")
    assert finding.state == PROBLEM and "unheard_of" in finding.text and fact == {}


def test_commands(capsys):
    assert __main__.main([]) == 0
    text = capsys.readouterr().out
    assert "doctor" in text and "plan" in text
    assert __main__.main(["plan", "syevd", "1000", "--devices", "4", "--hosts", "2"]) == 0
    assert (
        "syevd of 1000 x 1000 float64, 1000 eigenvectors, on 4 devices" in capsys.readouterr().out
    )
    assert __main__.main(["plan", "orgqr", "10", "--rows", "1000"]) == 0
    assert "orgqr of 1000 x 10 float64" in capsys.readouterr().out
    assert __main__.main(["plan", "sytrf", "1000"]) == 2
    assert "routine must be one of" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        __main__.main(["doctor", "--time-limit", "-1"])
    assert end.value.code == 2 and "seconds above 0" in capsys.readouterr().err
