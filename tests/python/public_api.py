"""Types of the public API, checked by mypy (`make types`); never run.

`jax.Array` is Any here, since JAX is not installed where types are checked.
"""

from typing import TYPE_CHECKING, Any

import jaxmg
from jaxmg.linalg import (
    CholeskyFactor,
    EighResult,
    LUFactor,
    QRFactor,
    RefinedFactor,
    SlogdetResult,
    cho_factor,
    cho_factor_shifted,
    eigh,
    lu_factor,
    qr_factor,
    slogdet,
    solve,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type


def functions(a: Any, b: Any) -> None:
    factor = cho_factor(a, tile=64)
    assert_type(factor, CholeskyFactor)
    assert_type(factor.shape, tuple[int, int])
    assert_type(factor.ranks, int)
    assert_type(factor.axes, tuple[str, ...])
    assert_type(cho_factor_shifted(a)[0], CholeskyFactor)
    assert_type(lu_factor(a), LUFactor)
    assert_type(lu_factor(a, refine="float32"), LUFactor | RefinedFactor)
    assert_type(qr_factor(a), QRFactor)
    assert_type(slogdet(a), SlogdetResult)
    x, info = solve(a, b, assume_a="pos", return_info=True)
    result: EighResult = eigh(a, factor, subset_by_index=(0, 9))
    print(result.eigenvalues, result.eigenvectors, x, info)


def planning() -> None:
    planned = jaxmg.plan("potrs", (4096, 4096), "float64", 4, nrhs=1)
    assert_type(planned, jaxmg.Plan)
    assert_type(planned.total_bytes, int)
    assert_type(planned.seconds, float)
    assert_type(jaxmg.backends(), tuple[jaxmg.Backend, ...])
    assert_type(jaxmg.backends()[0].name, str)


def configuration() -> None:
    assert_type(jaxmg.config.backend, str)
    assert_type(jaxmg.config.timeout_seconds, float)
    with jaxmg.config.using(backend="tiled"):
        pass


def errors() -> None:
    print(jaxmg.plan("potrs", (1, 1), "float64", 1).bytes)  # type: ignore[attr-defined]
    jaxmg.solve(1, 2)  # type: ignore[attr-defined]
