"""`Lineax <https://docs.kidger.site/lineax/>`_ solver; requires the extra ``jaxmg[lineax]``.

``import jaxmg`` does not import this module; write ``import jaxmg.lineax``.
"""

from typing import Any

import lineax
from jax.flatten_util import ravel_pytree

from jaxmg import linalg
from jaxmg._linalg.keywords import described
from jaxmg._linalg.options import Options
from jaxmg._mesh.finding import mesh_of

__all__ = ["Cholesky"]


class Cholesky(lineax.AbstractLinearSolver):
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

    tile: int | None = Options.tile
    workspace_limit: int | None = Options.workspace_limit
    backend: str = Options.backend

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
        factor = linalg.cho_factor(
            -matrix if negative else matrix,
            tile=self.tile,
            backend=self.backend,
            workspace_limit=self.workspace_limit,
        )
        return factor, mesh_of(factor.data), negative, False

    def compute(self, state, vector, options: dict[str, Any]):
        """Return (solution, result, statistics) for a right-hand side with any structure."""
        del options
        factor, mesh, negative, conjugate = state
        b, unravel = ravel_pytree(vector)
        options = dict(backend=self.backend, workspace_limit=self.workspace_limit)
        x = factor.solve(b.conj() if conjugate else b, **options, _mesh=mesh)
        x = x.conj() if conjugate else x
        result = lineax.RESULTS.where(
            factor.info == 0, lineax.RESULTS.successful, lineax.RESULTS.singular
        )
        return unravel(-x if negative else x), result, {}

    def transpose(self, state, options: dict[str, Any]):
        """Return the state for A^T, which is conj(A)."""
        return self.conj(state, options)

    def conj(self, state, options: dict[str, Any]):
        """Return the state for conj(A)."""
        del options
        factor, mesh, negative, conjugate = state
        return (factor, mesh, negative, not conjugate), {}

    def assume_full_rank(self):
        return True

    def allow_dependent_columns(self, operator):
        """Counterpart of `assume_full_rank` for Lineax before 0.1."""
        return False

    def allow_dependent_rows(self, operator):
        return False


Cholesky.__doc__ = described(
    Cholesky.__doc__, "options", Options, "tile", "backend", "workspace_limit"
)
