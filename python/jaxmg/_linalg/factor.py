"""`Factor`, the base class of factors: contents in tile columns, and calls that read them."""

import math
from dataclasses import replace
from typing import ClassVar

import jax
import numpy as np

from jaxmg._arguments import ArgumentError, as_array, as_arrays, check_right_hand_side
from jaxmg._linalg.options import Options, make_call
from jaxmg._mesh import placement
from jaxmg._mesh.finding import ranks_of_blocks
from jaxmg._mesh.ranks import row_spec
from jaxmg._mesh.specs import spec_on
from jaxmg._programs.dealt import Dealt


class Factor:
    """Factor of a matrix of order `n`, on `ranks` ranks along the mesh axes `axes`."""

    # Names of the replicated attributes, and of those that programs read.
    _replicated: ClassVar[tuple[str, ...]] = ("info",)
    _read: ClassVar[tuple[str, ...]] = ()

    data: jax.Array
    n: int
    tile: int
    axes: tuple[str, ...]
    ranks: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.n

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.data.dtype)

    def to_mesh(self, mesh):
        """Return the factor with its contents on `mesh`, for example after loading it from a file.

        The mesh must have as many devices along `axes` as the mesh the factor was made on.
        """
        copies = {name: getattr(self, name) for name in self._replicated}
        data, copies = placement.put_blocks(mesh, self.axes, self.ranks, self.data, copies)
        return replace(self, data=data, **copies)

    def _apply(self, routine, program, b, options: Options, mesh=None, **static):
        """Run a program that solves with the factor."""
        data, b = as_arrays(("factor.data", self.data), ("b", b))
        check_right_hand_side(self, b)
        data, call = self._prepared(routine, options, mesh, data, b)
        x_spec = spec_on(b, call.ranks.mesh)
        data, placed = placement.place_all(call.ranks, data, b, gather=self.ranks == 1)
        x = program(*self._contents(data, call), placed, call=call, x_spec=x_spec, **static)
        return placement.keep_sharding(x, b)

    def _matrix(self, routine, program, options: Options):
        """Run a program that computes a matrix from the factor."""
        data, call = self._prepared(routine, options)
        spec = row_spec(self.n, call.ranks)
        (data,) = placement.place_all(call.ranks, data)
        contents = self._contents(data, call)
        return program(*contents, call=call, spec=spec, donate=options.donate)

    def _scalars(self, routine, program, options: Options):
        """Run a program that computes scalars from the factor."""
        data, call = self._prepared(routine, options)
        (data,) = placement.place_all(call.ranks, data)
        return program(*self._contents(data, call), call=call)

    def _contents(self, data, call):
        """Return the operands of programs that read the factor; `data` is already placed."""
        copies = (getattr(self, name) for name in self._read)
        copies = (placement.place_scalar(copy, call.ranks, data) for copy in copies)
        return Dealt(data, self.tile), *copies

    def _prepared(self, routine, options: Options, mesh=None, data=None, *b):
        """Return the contents and the parameters of a call that reads them (and b).

        `mesh` is the mesh of contents whose type names none; `data` is the contents in the dtype of
        the call, by default `self.data`.
        """
        data = as_array(self.data, "factor.data") if data is None else data
        rows = self.ranks * -(-self.n // self.ranks)
        if data.shape != (rows, self.n):
            raise ArgumentError(
                f"a factor of order {self.n} on {self.ranks} ranks must have contents of shape "
                f"{(rows, self.n)}, but factor.data has shape {data.shape}; use vmap for a batch"
            )
        ranks = ranks_of_blocks(data, self.axes, self.ranks, *b, mesh=mesh)
        count = math.prod(b[0].shape[1:]) if b else 1
        return data, make_call(routine, data, ranks, options, count=count)
