"""Entering the mesh of a call where the caller has set another mesh."""

import contextlib

import jax
from jax.sharding import Mesh

from jaxmg._mesh.finding import context_mesh
from jaxmg._mesh.ranks import Ranks
from jaxmg._mesh.tracing import is_staged

_set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh


def entered(ranks: Ranks):
    """Return a context manager that sets `ranks.mesh` where it conflicts with the caller's mesh."""
    return entered_mesh(ranks.mesh)


def entered_mesh(mesh):
    context = jax.sharding.get_abstract_mesh()
    if context.empty or not isinstance(mesh, Mesh) or is_staged() or context_mesh() == mesh:
        return contextlib.nullcontext()
    return _set_mesh(mesh)
