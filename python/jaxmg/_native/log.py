"""One line for each call of the native code, if ``jaxmg.config.log`` is "info"."""

import logging
import os

import jax

from jaxmg._config import config
from jaxmg._mesh.ranks import Ranks
from jaxmg._native.plans import CallPlan

_logger = logging.getLogger("jaxmg")
# Fields of a plan that a reader can compare with the call; "n" and "dtype" come first.
_COUNTS = {"m": "rows", "nrhs": "right-hand sides", "vectors": "vectors", "row_length": "columns"}


def call(routine: str, plan: CallPlan, ranks: Ranks) -> None:
    """Log a call while it is traced, in one process only."""
    if config.log != "info" or (ranks.processes > 1 and jax.process_index() > 0):
        return
    if not _logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("jaxmg: %(message)s"))
        _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    _logger.info("%s", _line(routine, plan, ranks))


def _line(routine: str, plan: CallPlan, ranks: Ranks) -> str:
    fields = plan.fields()
    sizes = [f"N={fields['n']}", fields["dtype"]]
    sizes += [f"{text} {fields[name]}" for name, text in _COUNTS.items() if name in fields]
    return (
        f"{routine} {', '.join(sizes)}, on {ranks.size} x {ranks.platform}, tile {plan.tile}, "
        f"backend {plan.backend}, {_transport(plan, ranks)}, "
        f"workspace {plan.workspace_bytes / 2**20:.3g} MiB, planned {plan.seconds:.3g} s"
    )


def _transport(plan: CallPlan, ranks: Ranks) -> str:
    """Return how the ranks reach each other, as far as it is known before the call."""
    if ranks.size == 1:
        return "one device"
    if plan.ranks_at_work == 1:
        return "one device works for all"
    if plan.backend == "cusolvermp":
        return "transport NCCL"
    if ranks.platform == "cpu":
        return f"transport {'threads' if ranks.processes == 1 else 'sockets'}"
    if os.environ.get("JAXMG_TRANSPORT") == "nccl" or ranks.hosts > 1:
        return "transport NCCL"
    return f"transport {'peer access' if ranks.processes == 1 else 'CUDA IPC, or else NCCL'}"
