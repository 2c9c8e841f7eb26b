"""`CholeskyFactor`: a Cholesky factorisation as a reusable pytree."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmg._linalg.factor import Factor
from jaxmg._linalg.options import Options, takes
from jaxmg._mesh import placement, programs
from jaxmg._mesh.ranks import Ranks
from jaxmg._native.ffi import BACKWARD, FORWARD
from jaxmg._programs import row_blocks
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt
from jaxmg._rules import cholesky as rules

__all__ = ["CholeskyFactor", "SlogdetResult"]


class SlogdetResult(NamedTuple):
    """Sign and logarithm of a determinant, with the field names of ``jnp.linalg.slogdet``."""

    sign: jax.Array
    logabsdet: jax.Array


# SciPy's trans: the sweep, and whether b and x are conjugated, since L^T = conj(L^H).
_TRANS = {
    0: (FORWARD, False),
    "N": (FORWARD, False),
    1: (BACKWARD, True),
    "T": (BACKWARD, True),
    2: (BACKWARD, False),
    "C": (BACKWARD, False),
}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("data", "info"),
    meta_fields=("n", "tile", "axes", "ranks"),
)
@dataclass(frozen=True, eq=False)
class CholeskyFactor(Factor):
    """Cholesky factor L of a Hermitian positive definite A = L L^H, from `jaxmg.linalg.cho_factor`.

    An immutable pytree: it may cross ``jit``, be carried through ``lax.scan``, donated, pickled and
    saved. It holds no mesh: calls use the mesh of `data`, which must have as many ranks along
    `axes` as the mesh it was made on. After loading a factor from a file, put it on a mesh
    (`to_mesh`).

    Attributes
    ----------
    data : (P * ceil(N / P), N) array
        L as computed, in tile columns dealt to the P ranks; sharded over rows. The order of its
        elements is unspecified; `lower` returns L. The tangent and the cotangent of a factor are
        the tangent and cotangent of A, in rows. All NaN if A is not positive definite.
    info : () int32 array
        0, or the order of the first leading minor of A that is not positive definite.
    n, tile : int
        Order of A, width of the tile columns.
    axes : tuple of str
        Mesh axes over which rows are sharded; empty on one device outside any mesh.
    ranks : int
        P, the number of devices along `axes`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxmg
    >>> factor = jaxmg.linalg.cho_factor(4.0 * jnp.eye(3))
    >>> factor.solve(jnp.ones(3)).tolist()
    [0.25, 0.25, 0.25]
    """

    data: jax.Array
    info: jax.Array
    n: int
    tile: int
    axes: tuple[str, ...]
    ranks: int

    @classmethod
    def of(cls, dealt: Dealt, info, ranks: Ranks) -> "CholeskyFactor":
        """Return the result of a factorisation on `ranks` as a pytree."""
        return cls(dealt.data, info, dealt.data.shape[1], dealt.tile, ranks.axes, ranks.size)

    @takes("backend", "workspace_limit")
    def solve(self, b, *, _mesh=None, options: Options):
        """Solve ``A @ x = b``; see `jaxmg.linalg.cho_solve`."""
        return self._apply("cho_solve", _solve, b, options, _mesh)

    @takes("backend", "workspace_limit")
    def solve_triangular(self, b, *, trans=0, options: Options):
        """Solve with L, L^T or L^H; see `jaxmg.linalg.solve_triangular`."""
        if trans not in _TRANS:
            raise ValueError(f"trans must be one of {tuple(_TRANS)}, got {trans!r}")
        sweeps, conjugate = _TRANS[trans]
        return self._apply(
            "solve_triangular",
            _solve_triangular,
            b,
            options,
            sweeps=sweeps,
            conjugate=conjugate,
        )

    @takes("backend", "donate", "workspace_limit")
    def inv(self, *, options: Options):
        """Return the inverse of A; see `jaxmg.linalg.inv`."""
        return self._matrix("potri", _inverse, options)

    @takes("backend", "donate", "workspace_limit")
    def lower(self, *, options: Options):
        """Return L; see `jaxmg.linalg.cholesky`."""
        return self._matrix("cholesky", _lower, options)

    @takes("backend", "workspace_limit")
    def logdet(self, *, options: Options):
        """Return the logarithm of the determinant of A; see `jaxmg.linalg.logdet`."""
        return self._scalars("cho_factor", _logdet, options)

    @takes("backend", "workspace_limit")
    def slogdet(self, *, options: Options):
        """Return (sign, logarithm) of the determinant of A; see `jaxmg.linalg.slogdet`."""
        data, call = self._prepared("cho_factor", options)
        (data,) = placement.place_all(call.ranks, data)
        info = placement.place_scalar(self.info, call.ranks, data)
        return SlogdetResult(*_slogdet(Dealt(data, self.tile), info, call=call))


# --- programs ---------------------------------------------------------------------------------


@programs.program("x_spec")
def _solve(factor: Dealt, b, *, call: Call, x_spec):
    b = programs.on_mesh(b, call.ranks)
    return rules.solve(call, x_spec, factor, b)


@programs.program("x_spec", "sweeps", "conjugate")
def _solve_triangular(factor: Dealt, b, *, call: Call, x_spec, sweeps, conjugate):
    b = programs.on_mesh(b, call.ranks)
    x = rules.solve_triangular(call, x_spec, sweeps, factor, b.conj() if conjugate else b)
    return x.conj() if conjugate else x


@programs.program("spec")
def _inverse(factor: Dealt, *, call: Call, spec):
    return row_blocks.to_matrix(rules.inverse(call, factor), call=call, spec=spec)


@programs.program("spec")
def _lower(factor: Dealt, *, call: Call, spec):
    return row_blocks.to_matrix(rules.lower(call, factor), call=call, spec=spec)


@programs.program()
def _logdet(factor: Dealt, *, call: Call):
    return rules.log_determinant(call, factor)


@programs.program()
def _slogdet(factor: Dealt, info, *, call: Call):
    sign = jnp.where(info == 0, 1, jnp.nan).astype(factor.data.dtype)
    return sign, rules.log_determinant(call, factor)
