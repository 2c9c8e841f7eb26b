"""`Lineax <https://docs.kidger.site/lineax/>`_ solvers; require the extra ``jaxmg[lineax]``.

``import jaxmg`` does not import this module; write ``import jaxmg.lineax``.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import lineax
from jax.flatten_util import ravel_pytree

from jaxmg import linalg
from jaxmg._linalg import svd
from jaxmg._linalg.keywords import described
from jaxmg._linalg.options import Options
from jaxmg._mesh.finding import mesh_of
from jaxmg._rules import svd as svd_rules

__all__ = ["LU", "QR", "SVD", "AutoLinearSolver", "Cholesky"]


class _Solver(lineax.AbstractLinearSolver):
    """Options shared by the solvers; by default for operators of full rank."""

    tile: int | None = Options.tile
    workspace_limit: int | None = Options.workspace_limit
    backend: str = Options.backend

    def _options(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*names, "backend", "workspace_limit")}

    def assume_full_rank(self):
        return True

    def allow_dependent_columns(self, operator):
        """Counterpart of `assume_full_rank` for Lineax before 0.1."""
        return False

    def allow_dependent_rows(self, operator):
        return False


class Cholesky(_Solver):
    """Cholesky solver for positive (or negative) definite operators with a sharded matrix.

    The operator must be tagged as positive or negative semidefinite. Its matrix
    (``operator.as_matrix()``) is factored on its devices.

    Attributes
    ----------
    {options}

    Raises
    ------
    ValueError
        If the operator is not tagged as positive or negative semidefinite. (A singular operator is
        reported as ``RESULTS.singular``.)

    Examples
    --------
    >>> import jax.numpy as jnp, lineax, jaxmg.lineax
    >>> operator = lineax.MatrixLinearOperator(
    ...     4.0 * jnp.eye(3), lineax.positive_semidefinite_tag
    ... )
    >>> lineax.linear_solve(operator, jnp.ones(3), jaxmg.lineax.Cholesky()).value.tolist()
    [0.25, 0.25, 0.25]
    """

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]):
        """Return the state: the factor of A or -A, its mesh, and flags for -A and conj(A).

        The mesh is stored because Lineax flattens states, and a traced leaf may not name its mesh.
        """
        del options
        negative = lineax.is_negative_semidefinite(operator)
        if not negative and not lineax.is_positive_semidefinite(operator):
            raise ValueError(
                "operator must be tagged as positive or negative semidefinite, and be definite; "
                f"got a {type(operator).__name__} without such a tag"
            )
        matrix = operator.as_matrix()
        factor = linalg.cho_factor(-matrix if negative else matrix, **self._options("tile"))
        return factor, mesh_of(factor.data), negative, False

    def compute(self, state, vector, options: dict[str, Any]):
        """Return (solution, result, statistics) for a right-hand side with any structure."""
        del options
        factor, mesh, negative, conjugate = state
        b, unravel = ravel_pytree(vector)
        x = factor.solve(b.conj() if conjugate else b, **self._options(), _mesh=mesh)
        x = x.conj() if conjugate else x
        return unravel(-x if negative else x), _result(factor.info == 0), {}

    def transpose(self, state, options: dict[str, Any]):
        """Return the state for A^T, which is conj(A)."""
        return self.conj(state, options)

    def conj(self, state, options: dict[str, Any]):
        """Return the state for conj(A)."""
        del options
        factor, mesh, negative, conjugate = state
        return (factor, mesh, negative, not conjugate), {}


class LU(_Solver):
    """LU solver for square operators with a sharded matrix.

    The operator's matrix (``operator.as_matrix()``) is factored by LU with partial pivoting on its
    devices. A pivot that is exactly zero is reported as ``RESULTS.singular``.

    Attributes
    ----------
    {options}

    Raises
    ------
    ValueError
        If the operator is not square.

    Examples
    --------
    >>> import jax.numpy as jnp, lineax, jaxmg.lineax
    >>> operator = lineax.MatrixLinearOperator(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> lineax.linear_solve(operator, jnp.ones(2), jaxmg.lineax.LU()).value.tolist()
    [0.25, 0.5]
    """

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]):
        """Return the state: factor of A, mesh, structures, flags for A^T and conj(A)."""
        del options
        _require_square(operator, "LU")
        factor = linalg.lu_factor(operator.as_matrix(), **self._options("tile"))
        structures = operator.out_structure(), operator.in_structure()
        return factor, mesh_of(factor.data), structures, False, False

    def compute(self, state, vector, options: dict[str, Any]):
        """Return (solution, result, statistics) for a right-hand side with any structure."""
        del options
        factor, mesh, (_, structure), transposed, conjugate = state
        b, _ = ravel_pytree(vector)
        b = b.conj() if conjugate else b
        x = factor.solve(b, trans=int(transposed), **self._options(), _mesh=mesh)
        x = x.conj() if conjugate else x
        return _unravelled(x, structure), _result(factor.info == 0), {}

    def transpose(self, state, options: dict[str, Any]):
        """Return the state for A^T."""
        del options
        factor, mesh, structures, transposed, conjugate = state
        return (factor, mesh, structures[::-1], not transposed, conjugate), {}

    def conj(self, state, options: dict[str, Any]):
        """Return the state for conj(A)."""
        del options
        return (*state[:-1], not state[-1]), {}


class QR(_Solver):
    """QR solver for operators with a sharded matrix, square or not.

    The operator's matrix (``operator.as_matrix()``) is factored on its devices, or its adjoint if
    it has fewer rows than columns. The solution minimises the residual, and if there are several
    solutions it has the least norm, as with ``lineax.QR``. The matrix must have full rank: a
    diagonal element of R that is exactly zero is reported as ``RESULTS.singular``.

    Attributes
    ----------
    {options}

    Examples
    --------
    >>> import jax.numpy as jnp, lineax, jaxmg.lineax
    >>> operator = lineax.MatrixLinearOperator(jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]))
    >>> b = jnp.array([1.0, 3.0, 5.0])
    >>> lineax.linear_solve(operator, b, jaxmg.lineax.QR()).value.round(5).tolist()
    [1.0, 2.0]
    """

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]):
        """Return the state: factor of A or A^H, mesh, structures, flags for A^H and conj."""
        del options
        # Lineax drops the tangent of the state, which a QRFactor does not have.
        matrix = jax.lax.stop_gradient(operator.as_matrix())
        wide = matrix.shape[0] < matrix.shape[1]
        factor = linalg.qr_factor(matrix.conj().T if wide else matrix, **self._options("tile"))
        structures = operator.out_structure(), operator.in_structure()
        return factor, mesh_of(factor.data), structures, wide, False

    def compute(self, state, vector, options: dict[str, Any]):
        """Return (solution, result, statistics) for a right-hand side with any structure."""
        del options
        factor, mesh, (_, structure), adjoint, conjugate = state
        b, _ = ravel_pytree(vector)
        b = b.conj() if conjugate else b
        x = factor.solve(b, adjoint=adjoint, **self._options(), _mesh=mesh)
        x = x.conj() if conjugate else x
        return _unravelled(x, structure), _result(factor.info == 0), {}

    def transpose(self, state, options: dict[str, Any]):
        """Return the state for A^T, the conjugate of A^H."""
        del options
        factor, mesh, structures, adjoint, conjugate = state
        return (factor, mesh, structures[::-1], not adjoint, not conjugate), {}

    def conj(self, state, options: dict[str, Any]):
        """Return the state for conj(A)."""
        del options
        return (*state[:-1], not state[-1]), {}

    def allow_dependent_columns(self, operator):
        return operator.out_size() < operator.in_size()

    def allow_dependent_rows(self, operator):
        return operator.out_size() > operator.in_size()


class SVD(_Solver):
    """Solver for operators of any shape and rank, by the singular value decomposition.

    The operator's matrix (``operator.as_matrix()``) is decomposed on its devices. The solution has
    the least norm among those with the least residual.

    Attributes
    ----------
    rcond : float, optional
        Singular values up to `rcond` times the largest one count as 0; max(M, N) eps by default.
    {options}

    Examples
    --------
    >>> import jax.numpy as jnp, lineax, jaxmg.lineax
    >>> operator = lineax.MatrixLinearOperator(jnp.ones((2, 2)))
    >>> x = lineax.linear_solve(operator, jnp.ones(2), jaxmg.lineax.SVD()).value
    >>> x.round(3).tolist()
    [0.5, 0.5]
    """

    rcond: float | None = None

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]):
        """Return the state: the decomposition, its mesh, structures, flags for A^T and conj(A)."""
        del options
        u, s, vh = linalg.svd(operator.as_matrix(), **self._options("tile"))
        structures = operator.out_structure(), operator.in_structure()
        return (u, s, vh), mesh_of(u), structures, False, False

    def compute(self, state, vector, options: dict[str, Any]):
        """Return (solution, result, statistics) for a right-hand side with any structure."""
        del options
        (u, s, vh), mesh, (_, structure), transposed, conjugate = state
        b, _ = ravel_pytree(vector)
        shape = u.shape[0], vh.shape[1]
        rcond = svd_rules.default_rtol(shape, u.dtype) if self.rcond is None else self.rcond
        inverse, rank = svd_rules.inverse_values(rcond, s)
        # P^T = conj(P^H) for the pseudo-inverse P.
        conjugate = conjugate != transposed
        x = svd.pseudo_solve_on(mesh, inverse, u, vh, b.conj() if conjugate else b, transposed)
        result = _result(jnp.all(jnp.isfinite(s)))
        return _unravelled(x.conj() if conjugate else x, structure), result, {"rank": rank}

    def transpose(self, state, options: dict[str, Any]):
        """Return the state for A^T."""
        del options
        decomposition, mesh, structures, transposed, conjugate = state
        return (decomposition, mesh, structures[::-1], not transposed, conjugate), {}

    def conj(self, state, options: dict[str, Any]):
        """Return the state for conj(A)."""
        del options
        return (*state[:-1], not state[-1]), {}

    def assume_full_rank(self):
        return False

    def allow_dependent_columns(self, operator):
        """Counterpart of `assume_full_rank` for Lineax before 0.1."""
        return True

    def allow_dependent_rows(self, operator):
        return True


class AutoLinearSolver(_Solver):
    """Automatic choice of a solver for square operators, by their tags.

    Diagonal and tridiagonal operators, which need no matrix, are solved by Lineax. Positive and
    negative semidefinite operators are solved by `Cholesky`, all others by `LU`.

    Attributes
    ----------
    {options}

    Raises
    ------
    ValueError
        If the operator is not square.

    Examples
    --------
    >>> import jax.numpy as jnp, lineax, jaxmg.lineax
    >>> operator = lineax.MatrixLinearOperator(jnp.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> solver = jaxmg.lineax.AutoLinearSolver()
    >>> type(solver.select_solver(operator)).__name__
    'LU'
    """

    def select_solver(self, operator: lineax.AbstractLinearOperator):
        """Return the solver for an operator."""
        return self._solver(self._kind(operator))

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]):
        """Return the state: the name of the solver, and its state."""
        kind = self._kind(operator)
        return kind, self._solver(kind).init(operator, options)

    def compute(self, state, vector, options: dict[str, Any]):
        """Return (solution, result, statistics) for a right-hand side with any structure."""
        kind, of_solver = state
        return self._solver(kind).compute(of_solver, vector, options)

    def transpose(self, state, options: dict[str, Any]):
        """Return the state for A^T."""
        kind, of_solver = state
        of_solver, options = self._solver(kind).transpose(of_solver, options)
        return (kind, of_solver), options

    def conj(self, state, options: dict[str, Any]):
        """Return the state for conj(A)."""
        kind, of_solver = state
        of_solver, options = self._solver(kind).conj(of_solver, options)
        return (kind, of_solver), options

    def _kind(self, operator) -> str:
        _require_square(operator, "AutoLinearSolver")
        if lineax.is_diagonal(operator):
            return "diagonal"
        if lineax.is_tridiagonal(operator):
            return "tridiagonal"
        if lineax.is_positive_semidefinite(operator) or lineax.is_negative_semidefinite(operator):
            return "definite"
        return "general"

    def _solver(self, kind: str):
        if kind == "diagonal":
            return lineax.Diagonal()
        if kind == "tridiagonal":
            return lineax.Tridiagonal()
        return (Cholesky if kind == "definite" else LU)(**self._options("tile"))


def _require_square(operator, solver: str) -> None:
    if operator.in_size() != operator.out_size():
        raise ValueError(
            f"operator must be square for jaxmg.lineax.{solver}, got {operator.out_size()} rows "
            f"and {operator.in_size()} columns"
        )


def _result(regular):
    return lineax.RESULTS.where(regular, lineax.RESULTS.successful, lineax.RESULTS.singular)


def _unravelled(x, structure):
    """Return a vector as a pytree of the given structure."""
    leaves, form = jax.tree.flatten(structure)
    parts = jnp.split(x, list(itertools.accumulate(leaf.size for leaf in leaves))[:-1])
    parts = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(form, parts)


for _solver in (Cholesky, LU, QR, SVD, AutoLinearSolver):
    _solver.__doc__ = described(
        _solver.__doc__, "options", Options, "tile", "backend", "workspace_limit"
    )
