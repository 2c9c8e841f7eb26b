"""Solves with a factor of lower precision, refined to the accuracy of the matrix.

A is scaled by powers of two, converted, and factored in a lower precision. A Krylov method in the
precision of A, preconditioned by that factor, then solves the scaled system: conjugate gradients
for a positive definite A, and the generalised conjugate residual method (flexible GMRES that keeps
its directions) for a general one. Every right-hand side has its own state, and stops by its own
backward error

    eta = ||b - A x|| / (||A|| ||x|| + ||b||)      (infinity norms, of the scaled system).

Where that fails, the same program calls the solver of full precision for the original A.

Sources: LAPACK's dsposv and dsgesv (the result `iterations`); Carson and Higham, SIAM J. Sci.
Comput. 40, 2018 (Krylov methods in place of plain refinement); Higham and Pranesh, SIAM J. Sci.
Comput. 43, 2021 (scaling, shift and conjugate gradients for positive definite matrices).

Right-hand sides are rows, as for the native code: conjugated for a positive definite A. There,
rows of A X = B are Y A = C with Y = X^H; of a general A they are Y A^T = C with Y = X^T.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxmg._mesh import programs, varying
from jaxmg._native.ffi import BOTH
from jaxmg._planning.precision import Precision
from jaxmg._programs import cholesky, lu, row_blocks, row_products
from jaxmg._programs.batching import batchable
from jaxmg._programs.call import Call
from jaxmg._programs.dealt import Dealt, DealtLU
from jaxmg._programs.right_hand_sides import REPLICATED, as_columns, as_rows

# Values of `iterations` and of a factor's status, besides LAPACK's.
UNREFINED, CONVERSION, BREAKDOWN, SLOW = -1, -2, -3, -4
MOST_ITERATIONS = 30
# The rate of convergence is the decrease of eta from iteration _RATE_FROM to iteration _RATE_AT.
_RATE_FROM, _RATE_AT = 4, 10
_VECTOR, _SCALAR = PartitionSpec(None), PartitionSpec()


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("a", "data", "pivots", "exponents", "norms", "status"),
    meta_fields=("tile", "precision"),
)
@dataclass(frozen=True, eq=False)
class LowFactor:
    """A matrix A with a factor of lower precision; its tangent is the tangent of `a`.

    `data` and `pivots` (None for a Cholesky factor) are the factor of diag(2^r) A diag(2^c), in
    tile columns of width `tile`; `exponents` are the integers (r, c), and `norms` the largest sums
    of its rows and of its columns. `status` is 0, `CONVERSION` or `BREAKDOWN`.
    """

    a: jax.Array
    data: jax.Array
    pivots: jax.Array | None
    exponents: jax.Array
    norms: jax.Array
    status: jax.Array
    tile: int
    precision: Precision

    @property
    def positive(self) -> bool:
        return self.pivots is None


def factor(a, *, positive: bool, precision: Precision, call: Call) -> LowFactor:
    """Scale, convert and factor an (N, N) matrix A."""
    n, low = a.shape[1], precision.dtype_for(a.dtype)
    ranks, routine = call.ranks, "potrf" if positive else "getrf"
    options = precision.factor_options(ranks.platform)

    def factor_on(call):
        factored = _factored_positive if positive else _factored_general
        return lambda a: factored(row_blocks.from_matrix(a, call=call), precision, options, call)

    inner = of_lower_precision(call)
    run = batchable(factor_on, inner, inner.solved_by_one(routine, n, 1, low, **options))
    specs = (ranks.rows, REPLICATED, _VECTOR, _SCALAR, *(() if positive else (_VECTOR,)))
    data, exponents, norms, status, *pivots = programs.auto(run, ranks, specs)(a)
    pivots = None if positive else pivots[0]
    tile = inner.plan(routine, n, 1, low, **options).tile
    return LowFactor(a, data, pivots, exponents, norms, status, tile, precision)


def solve(low: LowFactor, b, *, call: Call, transposed=False, rest=False, x_spec=None):
    """Solve A X = B or A^T X = B for b (N,) or (N, nrhs); return (x, info, iterations[, rest]).

    `iterations` has an element for each right-hand side: the number of iterations, or the reason,
    below 0, why x is the result of the solver of full precision. With `rest`, A is overwritten in
    that case, and returned.
    """
    ranks, n = call.ranks, low.a.shape[1]
    positive = low.positive
    operands, tree = jax.tree.flatten(low)

    def solver(call):
        def solve(*operands):
            *operands, rhs = operands
            return _solved(jax.tree.unflatten(tree, operands), rhs, call, transposed, rest)

        return solve

    reading = of_lower_precision(call).with_tile(low.tile)
    by_one = reading.solved_by_one("potrs" if positive else "getrs", n, b.size // n, low.data.dtype)
    shared = (False, True, False, *((True,) if rest else ()))
    run = batchable(solver, call, by_one, merged=len(operands), shared=shared)

    def all_ranks(*operands):
        *operands, b = operands
        x, info, iterations, *left = run(*operands, as_rows(b, conjugated=positive))
        x = as_columns(x, b.ndim, conjugated=positive)
        return x, info, iterations[:, 0] if b.ndim == 2 else iterations[0, 0], *left

    of_iterations = _VECTOR if b.ndim == 2 else _SCALAR
    specs = (x_spec, _SCALAR, of_iterations, *((call.placement.spec,) if rest else ()))
    return programs.auto(all_ranks, ranks, specs)(*operands, b)


# --- scaling and factorisation ----------------------------------------------------------------


def _factored_positive(a, precision: Precision, options: dict[str, int], call: Call):
    """Factor positive definite row blocks, of which only the upper triangle is read.

    `options` are further arguments of the factorisation. Return (data, exponents, norms, status).
    """
    n = a.shape[1]
    diagonal = row_blocks.diagonal(a, call=call).real
    valid = jnp.all(jnp.isfinite(diagonal) & (diagonal > 0))
    # a_ii = f 2^e, hence a_ii 2^(2 k) is in [1/2, 2) for k = -floor(e / 2).
    k = -(_exponent(jnp.where(diagonal > 0, diagonal, 1)) // 2)
    scales = _power_of_two(k, diagonal.dtype)
    shifts = jnp.asarray(precision.shifts(n), diagonal.dtype)

    def attempt(state):
        tries, _, _, _ = state
        scaled, norms = row_products.equilibrated(
            a, scales, scales, shifts[tries], hermitian=True, call=call
        )
        dealt, info = cholesky.potrf(scaled, call=call, **options)
        return tries + 1, dealt.data, info, norms

    # The scaled elements of a positive definite matrix are below 2.
    def unfinished(state):
        tries, _, info, norms = state
        return valid & (info != 0) & (tries < shifts.size) & jnp.all(norms <= 2 * n)

    # Most matrices need one attempt, whose results begin the loop.
    state = attempt((varying.zeros_like(k[0]), None, None, None))
    _, data, info, norms = lax.while_loop(unfinished, attempt, state)
    status = _status(valid & jnp.all(norms <= 2 * n), info)
    return data, jnp.stack([k, k]), norms, status


def _factored_general(a, precision: Precision, options: dict[str, int], call: Call):
    """Factor row blocks; return (data, exponents, norms, status, pivots)."""
    n = a.shape[1]
    r = -_exponent(_positive(row_products.largest_of_rows(a, call=call)))
    left = _power_of_two(r, np.finfo(a.dtype).dtype)
    c = -_exponent(_positive(row_products.largest_of_columns(a, left, call=call)))
    right = _power_of_two(c, left.dtype)
    scaled, norms = row_products.equilibrated(a, left, right, hermitian=False, call=call)
    valid = jnp.all(norms <= n)  # No scaled element exceeds 1.
    factors, info = lu.getrf(scaled, call=call, **options)
    # Two FP16 numbers overflow at 65504, far above the elements of U without growth.
    info = jnp.where(jnp.all(jnp.isfinite(lu.diagonal(factors, call=call))), info, 1)
    return factors.data, jnp.stack([r, c]), norms, _status(valid, info), factors.pivots


def of_lower_precision(call: Call) -> Call:
    """Return the call by which A is factored in lower precision: by rows, with our own code."""
    return dataclasses.replace(call.in_rows(), backend="tiled")


def _status(valid, info):
    return jnp.where(valid, jnp.where(info == 0, 0, BREAKDOWN), CONVERSION).astype(np.int32)


def _exponent(x):
    """Return e of |x| = f 2^e with f in [1/2, 1), the larger one of real and imaginary part."""
    if jnp.iscomplexobj(x):
        return jnp.maximum(_exponent(x.real), _exponent(x.imag))
    return jnp.frexp(x)[1].astype(np.int32)


def _positive(x):
    return jnp.where((x > 0) & jnp.isfinite(x), x, 1)


def _power_of_two(e, dtype):
    return jnp.ldexp(jnp.ones((), dtype), e)


def _times_power_of_two(x, e):
    """Return x 2^e, which overflows only if the result does."""
    if jnp.iscomplexobj(x):
        return lax.complex(_times_power_of_two(x.real, e), _times_power_of_two(x.imag, e))
    return jnp.ldexp(x, e)


# --- the scaled system ------------------------------------------------------------------------


class _System:
    """The scaled system of a factor, or its transpose, for right-hand sides in rows."""

    def __init__(self, low: LowFactor, call: Call, transposed: bool):
        self.low, self.call, self.transposed = low, call, transposed
        self.a = row_blocks.from_matrix(low.a, call=call)
        self.positive = low.positive
        sides = (1, 0) if transposed else (0, 1)
        self.left, self.right = (low.exponents[side] for side in sides)
        self.norm = low.norms[1 if transposed else 0]
        real = low.norms.dtype
        self.scales = tuple(_power_of_two(e, real) for e in (self.left, self.right))

    def scaled(self, b):
        """Return the right-hand sides of the scaled system, and their exponents."""
        e = jnp.max(jnp.where(b == 0, _SMALLEST, _exponent(b) + self.left), axis=1, keepdims=True)
        e = jnp.where(e == _SMALLEST, 0, e)
        return _times_power_of_two(b, self.left - e), e

    def unscaled(self, x, e):
        return _times_power_of_two(x, self.right + e)

    def times(self, y):
        """Return the product of the scaled matrix with every row of Y."""
        left, right = self.scales
        y = y * right
        if self.positive:
            y = row_products.hermitian_times(self.a, y, call=self.call.in_rows())
        else:
            y = row_products.times(self.a, y, transposed=self.transposed, call=self.call)
        return y * left

    def precondition(self, r):
        """Return the solution with the factor, for every row of R."""
        low, call = self.low, of_lower_precision(self.call)
        size = jnp.max(jnp.abs(r), axis=1, keepdims=True)
        size = jnp.where(size > 0, size, 1)
        b = as_columns((r / size).astype(low.data.dtype), 2, conjugated=self.positive)
        if self.positive:
            dealt = Dealt(low.data, low.tile)
            z = cholesky.potrs(dealt, b, call=call, sweeps=BOTH, x_spec=REPLICATED)
        else:
            factors = DealtLU(low.data, low.pivots, low.tile)
            options = dict(transposed=self.transposed, x_spec=REPLICATED)
            z = lu.getrs(factors, b, call=call, **options)
        return as_rows(z, conjugated=self.positive).astype(r.dtype) * size


_SMALLEST = np.int32(-(2**20))


# --- iteration --------------------------------------------------------------------------------


class _State(NamedTuple):
    """State of the iteration: an element, or a row, for each right-hand side."""

    x: Any
    r: Any  # b - A x, by recurrence
    directions: Any  # of the Krylov method
    best: Any  # x with the smallest backward error among those of true residuals
    least: Any  # that error
    at_start: Any  # smallest backward error up to iteration _RATE_FROM
    smallest: Any  # and up to now
    count: Any  # iterations
    active: Any
    checking: Any  # whether the next step computes the true residual
    fresh: Any  # whether the Krylov method starts again
    outcome: Any  # of inactive right-hand sides: the count, or the reason of failure


def _refined(system: _System, b, status, call: Call):
    """Solve the scaled system; return (x, iterations)."""
    nrhs, n = b.shape
    u = float(np.finfo(b.dtype).eps) / 2
    target, acceptable = 2 * u, np.sqrt(n) * u
    norm_b = jnp.max(jnp.abs(b), axis=1)
    method = _ConjugateGradients() if system.positive else _ConjugateResiduals(n, nrhs, call)

    def error(r, x):
        r, x = (jnp.max(jnp.abs(v), axis=1) for v in (r, x))
        return r / (system.norm * x + norm_b)

    def step(s: _State) -> _State:
        moving = s.active & ~s.checking
        of = jnp.where(moving[:, None], method.source(s), 0)
        z = lax.cond(jnp.any(moving), system.precondition, varying.zeros_like, of)
        directions, v = method.direction(s, z)
        v = jnp.where(s.checking[:, None], s.x, v)
        q = system.times(jnp.where(s.active[:, None], v, 0))

        # Right-hand sides in iteration.
        directions, dx, dr, broken = method.advance(s, directions, q)
        stepped = (moving & ~broken)[:, None]
        x, r = jnp.where(stepped, s.x + dx, s.x), jnp.where(stepped, s.r - dr, s.r)
        count = s.count + moving
        eta = error(r, x)
        smallest = jnp.where(moving, jnp.fmin(s.smallest, eta), s.smallest)
        at_start = jnp.where(count <= _RATE_FROM, smallest, s.at_start)
        small = eta <= target / 2
        stop = broken | (count >= MOST_ITERATIONS)
        if system.positive:
            # Conjugate gradients take rounding errors along earlier directions for removed ones.
            # Where these stall them, they start again from the true residual.
            small |= (eta <= acceptable) & (eta > s.smallest / 2)
            stop |= (count == _RATE_AT) & _too_slow(at_start, smallest, target)
        small &= moving & ~broken
        failed = moving & ~small & stop
        reason = jnp.where(broken | (count < MOST_ITERATIONS), SLOW, -(MOST_ITERATIONS + 1))

        # Right-hand sides whose true residual has been computed.
        true_r = b - q
        eta = error(true_r, s.x)
        better = s.checking & (eta < s.least)
        least = jnp.where(better, eta, s.least)
        at_floor = (eta > s.least / 2) | (count >= MOST_ITERATIONS)
        ends = s.checking & ((eta <= target) | at_floor)
        failed |= ends & ~(least <= acceptable)

        # All ranks must take the same decisions.
        decisions = jnp.stack([ends | failed, failed, better, small])
        ends, failed, better, small = _of_first_rank(decisions, call)
        fresh = s.checking & ~ends
        outcome = jnp.where(failed, reason, count).astype(np.int32)
        return _State(
            x=x,
            r=jnp.where(fresh[:, None], true_r, r),
            directions=directions,
            best=jnp.where(better[:, None], s.x, s.best),
            least=least,
            at_start=at_start,
            smallest=smallest,
            count=count,
            active=s.active & ~ends,
            checking=small & ~ends,
            fresh=fresh,
            outcome=jnp.where(s.active & ends, outcome, s.outcome),
        )

    active = jnp.all(jnp.isfinite(b), axis=1) & (norm_b > 0) & (status == 0)
    zeros = varying.zeros_like(b)
    none, infinite = active & False, varying.zeros_like(norm_b) + jnp.inf
    count = varying.zeros_like(active.astype(np.int32))
    state = _State(
        x=zeros,
        r=jnp.where(active[:, None], b, 0),
        directions=method.none(zeros),
        best=zeros,
        least=infinite,
        at_start=infinite,
        smallest=infinite,
        count=count,
        active=active,
        checking=none,
        fresh=~none,
        outcome=count + status,
    )
    end = lax.while_loop(lambda s: jnp.any(s.active), step, state)
    return end.best, end.outcome


def _too_slow(at_start, smallest, target):
    """Return whether eta is expected to miss the target by far, from its rate of decrease."""
    rate = jnp.log(smallest / at_start) / (_RATE_AT - _RATE_FROM)
    return ~(rate < 0) | (jnp.log(target / smallest) / rate > 2 * (MOST_ITERATIONS - _RATE_AT))


def _of_first_rank(flags, call: Call):
    """Return the flags of the first rank on all ranks: their rounding errors may differ."""
    ranks = call.ranks
    if ranks.size == 1:
        return flags

    def one_rank(flags):
        return lax.psum(jnp.where(lax.axis_index(ranks.axes) == 0, flags, 0), ranks.axes)

    flags = flags.astype(np.int32)
    return programs.over_ranks(one_rank, ranks, (REPLICATED,), REPLICATED)(flags) > 0


def _inner(x, y):
    return jnp.sum(x.conj() * y, axis=1)


class _ConjugateGradients:
    """Conjugate gradients, with the update of Polak and Ribiere: the preconditioner is rounded."""

    def none(self, zeros):
        real = jnp.sum(zeros.real, axis=1)
        return zeros, zeros, real

    def source(self, s: _State):
        """Return the vectors from which the preconditioner makes directions."""
        return s.r

    def direction(self, s: _State, z):
        p, old_r, old_rz = s.directions
        rz = _inner(s.r, z).real
        beta = jnp.where(s.fresh, 0, _inner(z, s.r - old_r).real / old_rz)
        # A right-hand side whose residual is being computed has no z.
        p = jnp.where(s.checking[:, None] | ~s.active[:, None], p, z + beta[:, None] * p)
        return (p, s.r, rz), p

    def advance(self, s: _State, directions, q):
        p, _, rz = directions
        pq = _inner(p, q).real
        # Not positive where A or the preconditioner is not positive definite.
        broken = ~((rz > 0) & (pq > 0))
        alpha = (rz / pq)[:, None]
        return directions, alpha * p, alpha * q, broken


class _ConjugateResiduals:
    """Generalised conjugate residuals: the smallest residual over the last `kept` directions.

    A direction comes from the residual or, where that has hardly changed, from the last product
    (Jiranek and Rozloznik, Electronic Transactions on Numerical Analysis 32, 2008: adaptive simpler
    GMRES).
    """

    def __init__(self, n: int, nrhs: int, call: Call):
        # Directions and their products must not take more than an eighth of a rank's rows.
        self.kept = int(np.clip(n // (16 * nrhs * call.ranks.size), 5, MOST_ITERATIONS))

    def none(self, zeros):
        many = varying.zeros_like(jnp.broadcast_to(zeros, (self.kept, *zeros.shape)))
        place = jnp.sum(varying.zeros_like(zeros.real)).astype(np.int32)
        return many, many, place, jnp.sum(zeros.real, axis=1) > 0

    def source(self, s: _State):
        _, products, place, stagnates = s.directions
        last = lax.dynamic_index_in_dim(products, (place - 1) % self.kept, 0, keepdims=False)
        return jnp.where((stagnates & ~s.fresh)[:, None], last, s.r)

    def direction(self, s: _State, z):
        known, products, place, _ = s.directions
        kept = ~s.fresh[None, :, None]
        return (jnp.where(kept, known, 0), jnp.where(kept, products, 0), place, z), z

    def advance(self, s: _State, directions, q):
        known, products, place, z = directions
        for _ in range(2):  # Gram-Schmidt, twice
            c = jnp.einsum("mkn,kn->mk", products.conj(), q, precision="highest")
            q = q - jnp.einsum("mk,mkn->kn", c, products, precision="highest")
            z = z - jnp.einsum("mk,mkn->kn", c, known, precision="highest")
        size = jnp.sqrt(_inner(q, q).real)
        usable = (size > 0) & jnp.isfinite(size) & s.active & ~s.checking
        scale = jnp.where(usable, 1 / jnp.where(usable, size, 1), 0)[:, None]
        q, z = scale * q, scale * z
        known = lax.dynamic_update_index_in_dim(known, z, place, 0)
        products = lax.dynamic_update_index_in_dim(products, q, place, 0)
        alpha = _inner(q, s.r)
        # By less than a tenth: ||r - alpha q||^2 = ||r||^2 - |alpha|^2.
        stagnates = jnp.abs(alpha) ** 2 < 0.19 * _inner(s.r, s.r).real
        place = (place + 1) % self.kept
        alpha = alpha[:, None]
        return (known, products, place, stagnates), alpha * z, alpha * q, ~usable


# --- solution ---------------------------------------------------------------------------------


def _solved(low: LowFactor, rhs, call: Call, transposed: bool, rest: bool):
    """Solve for right-hand sides in rows; return (x, info, iterations (nrhs, 1)[, rest])."""
    system = _System(low, call, transposed)
    scaled, e = system.scaled(rhs)
    x, iterations = _refined(system, scaled, low.status, call)
    x = system.unscaled(x, e)
    # A column with infinity or NaN has no solution.
    x = jnp.where(jnp.all(jnp.isfinite(rhs), axis=1, keepdims=True), x, jnp.nan)
    failed = iterations < 0

    def kept(a, x):
        info = varying.zeros_like(iterations[0])
        return (x, info, programs.pad_rows_to(a, call.ranks.padded_rows(a.shape[1])))

    def of_full_precision(a, x):
        if not rest:
            # XLA would copy A before the branch, and keep it from the beginning of the program.
            a = jnp.where(jnp.any(failed), a, 0)
        b = as_columns(rhs, 2, conjugated=low.positive)
        full, info, left = _full(a, b, call, low.positive, transposed)
        full = as_rows(full, conjugated=low.positive)
        return jnp.where(failed[:, None], full, x), info, left

    def without_rest(solve):
        return solve if rest else lambda *operands: solve(*operands)[:2]

    branches = (without_rest(branch) for branch in (of_full_precision, kept))
    x, info, *left = lax.cond(jnp.any(failed), *branches, low.a, x)
    return x, info, iterations[:, None], *left


def _full(a, b, call: Call, positive: bool, transposed: bool):
    """Solve as without refinement; return (x, info, overwritten A)."""
    if positive:
        return cholesky.posv(a, b, call=call, x_spec=REPLICATED)
    if not transposed:
        x, info, factors = lu.gesv(a, b, call=call, x_spec=REPLICATED)
        return x, info, factors.data
    factors, info = lu.getrf(a, call=call)
    x = lu.getrs(factors, b, call=call, transposed=True, x_spec=REPLICATED)
    return x, info, factors.data
