"""python -m jaxmg bench and show-layout; the log of calls; errors of users are one line."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxmg
import numpy as np
import pytest
from jaxmg import __main__, linalg
from jaxmg._tools.layout import Layout
from systems import ROWS, positive_definite, put


def run(*arguments, **environment):
    """Run a command in a new process: `bench` configures JAX."""
    result = subprocess.run(
        [sys.executable, "-m", "jaxmg", *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return result.returncode, result.stdout, result.stderr


# --- bench ------------------------------------------------------------------------------------


def test_bench(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "rates.png"
    arguments = ("--sizes", "64,96", "--devices", 2, "--png", picture)
    status, output, progress = run("bench", "potrs", *arguments)
    assert status == 0, output + progress
    rows = [line.split() for line in output.splitlines() if line[:7].strip() in ("64", "96")]
    assert [row[0] for row in rows] == ["64", "64", "96", "96"]
    assert [row[1] for row in rows] == ["jaxmg", "jax"] * 2
    for row in rows:
        seconds, error = float(row[-5]), float(row[-1])
        assert seconds > 0 and 0 <= error < 1
    assert "GEMM:" in output and "2 devices" in output
    assert "6/6 N=96, jax cho_solve on 1 device" in progress
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("bench", "--sizes", "10", "--devices", "4"), "--sizes must be multiples of the number"),
        (("bench", "--devices", "99"), "--devices must be at most 8, which JAX finds; got 99"),
        (("show-layout", "100", "--routine", "sytrf"), "--routine must be one of potrs"),
        (("plan", "potrs", "0"), "shape must be at least 1, got 0"),
        (("plan", "potrs", str(2**64)), "shape must be below 2**63, got 18446744073709551616"),
        (("plan", "potrs", "9", "--vectors", "3"), "vectors supports only the routines ('syevd'"),
        (("bench", "--png", "nowhere/x.png"), "--png must be in a folder that exists, got nowhere"),
        (("show-layout", "9", "--png", "."), "--png must be a file, and . is a folder"),
    ],
)
def test_errors_of_users(arguments, text, capsys):
    """In this process, which has eight devices."""
    assert __main__.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("python -m jaxmg: ") and text in printed.err
    assert printed.out == "" and "Traceback" not in printed.err


@pytest.mark.parametrize("command", [("plan", "potrs", "9"), ("bench",), ("show-layout", "9")])
def test_no_devices(command):
    """CUDA without a GPU or without JAX's plugin, and a platform that does not exist."""
    for platform in ("cuda", "abacus"):
        status, output, error = run(*command, JAX_PLATFORMS=platform, CUDA_VISIBLE_DEVICES="")
        assert status == 2 and output == "" and "Traceback" not in error
        assert "python -m jaxmg: JAX finds no devices: " in error


@pytest.mark.parametrize(
    "arguments",
    [("bench", "--sizes", "x"), ("bench", "sytrf"), ("show",), ("doctor", "--time-limit", "x")],
)
def test_errors_of_arguments(arguments):
    with pytest.raises(SystemExit) as ended:
        __main__.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", ["doctor", "plan", "bench", "show-layout"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit):
        __main__.main([command, "--help"])
    text = capsys.readouterr().out
    assert f"python -m jaxmg {command}" in text and "exit status: 0" in text


# --- show-layout ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "ranks", "tile"), [(48, 4, 4), (50, 4, 5), (33, 3, 8), (5, 4, 2)])
def test_layout_is_the_layout_of_calls(make_mesh, n, ranks, tile):
    """Row i of the matrix holds i; `cyclic_1d` deals the rows as the routines do."""
    a = put(np.broadcast_to(np.arange(n, dtype=float)[:, None], (n, 3)), make_mesh(ranks), "x")
    dealt = np.asarray(jaxmg.cyclic_1d(a + 1, tile, make_mesh(ranks), ROWS, pad=False))[:, 0] - 1
    layout = Layout(n, ranks, tile)
    for rank in range(ranks):
        held = dealt[rank * layout.shard : (rank + 1) * layout.shard]
        runs = [np.arange(first, last + 1) for first, last in layout.runs(rank)]
        np.testing.assert_array_equal(np.concatenate([*runs, []]), held[held >= 0])
    assert np.bincount(layout.after(), minlength=ranks).max() <= layout.shard


def test_show_layout(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "layout.png"
    asked = ["show-layout", "12", "--devices", "2", "--tile", "2", "--platform", "cpu"]
    assert __main__.main([*asked, "--png", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "  as stored  000000111111\n  dealt      001100110011\n" in text
    assert "  device 1: 6 columns: 2-3, 6-7, 10-11\n" in text
    assert picture.read_bytes()[:4] == b"\x89PNG"


# --- the log ----------------------------------------------------------------------------------


def test_log(make_mesh, caplog):
    a = put(positive_definite(52), make_mesh(4), "x", None)
    with jaxmg.config.using(log="info"):
        solve = jax.jit(lambda a, b: linalg.solve(a, b, assume_a="pos", tile=4))
        solve(a, jnp.ones(52))
        solve(a, jnp.ones(52))  # It is not traced again.
    lines = {record.getMessage() for record in caplog.records if record.name == "jaxmg"}
    (line,) = lines
    assert line.startswith("posv N=52, float64, right-hand sides 1, on 4 x ")
    assert "tile 4, backend tiled, transport " in line and line.endswith(" s")


def test_nothing_is_logged_by_default(make_mesh, caplog):
    jax.jit(lambda a: linalg.inv(a))(put(positive_definite(20), make_mesh(2), "x", None))
    assert not [record for record in caplog.records if record.name == "jaxmg"]


def test_log_of_a_process():
    program = "import jaxmg; jaxmg.linalg.inv([[2.0]], assume_a='pos')"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAXMG_LOG": "info", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert "jaxmg: potrf N=1, float32, on 1 x cpu" in result.stderr
    assert "one device" in result.stderr


def test_log_is_an_option():
    with pytest.raises(ValueError, match="log must be 'off' or 'info', got 'debug'"):
        jaxmg.config.update("log", "debug")


def test_calls_have_names_in_profiles(make_mesh):
    a = put(positive_definite(8), make_mesh(2), "x", None)
    lowered = jax.jit(lambda a: linalg.inv(a, assume_a="pos")).lower(a)
    text = lowered.compile().as_text()
    assert "jaxmg.potrf" in text and "jaxmg.potri" in text
