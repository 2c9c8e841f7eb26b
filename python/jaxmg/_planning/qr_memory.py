"""Memory of the programs of QR, which hold more than the operands of their native calls.

The native code factors columns of A, an (n, m) array. XLA turns rows into columns and back out of
place: among several devices, before and after an all-to-all. Results are allocated for the whole
program; earlier arrays that fit lie in their memory.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Moment:
    """Arrays that are alive at one time of a program, in bytes."""

    arrays: tuple[int, ...]
    free: tuple[int, ...] = ()  # Memory of results that is free for these arrays.

    def besides_results(self) -> int:
        """Return the bytes that need memory of their own."""
        free, needed = sorted(self.free), 0
        for array in sorted(self.arrays, reverse=True):
            if free and array <= free[-1]:
                free.pop()
            else:
                needed += array
        return needed


def shard_bytes(rows: int, columns: int, itemsize: int, ranks: int) -> int:
    """Return the bytes of a device for a matrix in row blocks."""
    return -(-rows // ranks) * columns * itemsize


def peak(routine: str, shape, itemsize: int, ranks: int, steps) -> int:
    """Return the peak memory of a device in bytes, without the caller's matrix.

    `steps` are the plans of the native calls: `backends.STEPS` of "geqrf", "orgqr" or "gels". The
    peak of square matrices and of least squares is exact, up to the factors of reflectors. Of
    others, XLA finds room for more or fewer arrays in results of other sizes: it is an upper bound.
    """
    m, n = shape
    wide = routine == "gels" and m < n

    def share(rows, columns):
        return shard_bytes(rows, columns, itemsize, ranks)

    if wide:  # Its adjoint is factored, whose columns are the rows of A as they lie.
        m, n = n, m
    k = min(m, n)
    a, columns, r_columns = share(m, n), share(n, m), share(n, k)
    r, q, factors = share(k, n), share(m, k), share(n, steps[0].tile)
    results = {"geqrf": (r,), "orgqr": (r, q), "gels": ()}[routine]
    # Arrays on the way from columns to rows, before the result.
    hops = 2 if ranks > 1 else 1
    # Among several devices, XLA does not keep the factor in the memory of Q or R.
    free = results if routine == "geqrf" or ranks == 1 else ()
    moments = [_Moment((columns, factors, steps[0].workspace_bytes), free)]
    if ranks > 1 and not wide:
        moments.append(_Moment((a, columns), results))
    if routine == "geqrf":
        moments.append(_Moment((columns, r_columns), results if m <= n else ()))
        moments.append(_Moment((r_columns,) * hops, results if ranks > 1 else ()))
    elif routine == "orgqr":
        # XLA does not use the memory of a result for the arrays that are turned into it.
        moments.append(_Moment((columns, *(r_columns,) * hops, factors), (q,)))
        moments.append(_Moment((columns, factors, steps[-1].workspace_bytes), (q,)))
        moments.append(_Moment((columns,) * hops + (factors,)))
    else:
        moments += [_Moment((columns, factors, step.workspace_bytes)) for step in steps[1:]]
    return sum(results) + max(moment.besides_results() for moment in moments)
