"""The drawings of the documentation. `draw(NAME)` returns one as an HTML figure."""

from svg import DEVICES, Drawing, figure

TILES = 12  # tile columns of the matrices in the drawings


def layout() -> str:
    """One matrix over four devices, as JAX stores it and as it is factored."""
    d = Drawing(
        760,
        262,
        "A matrix sharded by rows over four devices; the same memory as columns of the transpose; "
        "the columns dealt to the devices in tiles, round-robin",
    )
    side, top = 180, 34
    lefts = (10, 290, 570)
    for left, title in zip(lefts, ("a jax.Array", "the same bytes", "during a call"), strict=True):
        d.text(left + side / 2, 20, title, "strong", "middle")
    strip = side / DEVICES
    for k in range(DEVICES):
        d.rect(lefts[0], top + k * strip, side, strip, f"device-{k}", f"GPU {k}")
        d.rect(lefts[1] + k * strip, top, strip, side, f"device-{k}", f"{k}")
    tile = side / TILES
    for t in range(TILES):
        d.rect(lefts[2] + t * tile, top, tile, side, f"device-{t % DEVICES}", f"{t % DEVICES}")
    for left in lefts[:2]:
        d.line((left + side + 14, top + side / 2), (left + side + 86, top + side / 2), arrow=True)
    d.text(240, top + side / 2 - 12, "read by", "small", "middle")
    d.text(240, top + side / 2 + 20, "columns", "small", "middle")
    d.text(520, top + side / 2 - 12, "dealt", "small", "middle")
    d.text(520, top + side / 2 + 20, "in place", "small", "middle")
    below = ('rows, P("x", None)', "columns of the transpose", "tile columns, round-robin")
    for left, text in zip(lefts, below, strict=True):
        d.text(left + side / 2, top + side + 22, text, "small", "middle")
    return figure(str(d))


def row_shard() -> str:
    """The elements of one shard in memory, read by rows and by columns."""
    rows, order, size = 2, 8, 26
    d = Drawing(640, 214, "Two rows of eight elements in memory are two columns of the transpose")
    d.text(20, 18, "shard of GPU 1: 2 rows of A", "small")
    d.text(430, 18, "2 columns of the transpose", "small")
    for i in range(rows):
        for j in range(order):
            number = i * order + j
            kind = f"device-{1 + i}"
            d.rect(20 + j * size, 28 + i * size, size, size, kind, str(number))
            d.rect(500 + i * size, 28 + j * size * 0.62, size, size * 0.62, kind, str(number))
            d.rect(20 + number * size, 176, size, size, kind, str(number))
    d.line((130, 88), (130, 168), both=True)
    d.line((470, 110), (400, 168), both=True)
    d.text(142, 134, "by rows (JAX)", "small")
    d.text(296, 134, "by columns (LAPACK)", "small")
    d.text(446, 193, "bytes in memory", "small")
    return figure(str(d))


def tiles() -> str:
    """Work left after half of the steps, with contiguous and with dealt columns."""
    d = Drawing(640, 222, "With contiguous columns two of four devices are idle after half of the "
                "steps; with tile columns dealt round-robin all have work")  # fmt: skip
    side, top = 160, 34
    for left, title, owner, below in (
        (30, "contiguous blocks", lambda t: t * DEVICES // TILES, "GPUs 0 and 1 are idle"),
        (380, "dealt round-robin", lambda t: t % DEVICES, "all GPUs have work"),
    ):
        d.text(left + side / 2, 20, title, "strong", "middle")
        tile = side / TILES
        for t in range(TILES):
            faded = " done" if t < TILES // 2 else ""
            d.rect(left + t * tile, top, tile, side, f"device-{owner(t)}{faded}")
            d.text(
                left + (t + 0.5) * tile, top - 2 + side / 2, str(owner(t)), "on-device", "middle"
            )
        d.text(left + side / 2, top + side + 20, f"half done: {below}", "small", "middle")
    return figure(str(d))


# ---- the order of a Cholesky factorisation ----


def _schedule(columns: int, ranks: int):
    """Return (lane, step, name, begin, end) of the work of one device, by the waits of potrf.h.

    The unit of time is an update of a square block by all devices. Each lane works alone.
    """
    lanes, ready, work = {}, {}, []

    def run(lane, step, name, seconds, *waits):
        begin = max([lanes.get(lane, 0.0), *(ready.get(wait, 0.0) for wait in waits)])
        lanes[lane] = ready[name, step] = begin + seconds
        if seconds > 0:
            work.append((lane, step, name, begin, begin + seconds))

    def blocks(first, last):  # rows of blocks that exist
        return max(0, min(last, columns) - min(first, columns))

    for o in range(columns):
        b = o - 1  # the step before
        # A sixth of the operations of an update, on one device alone, at half the rate.
        run("diagonal", o, "diagonal", ranks / 6 * 2, ("update near", b))
        # The rows of the panel cost half of the operations of an update.
        near, mid, far = blocks(o + 1, o + 2), blocks(o + 2, o + 3), blocks(o + 3, columns)
        run("panel", o, "near", near / 2, ("diagonal", o))
        run("panel", o, "update near", near, ("ahead", b))
        run("panel", o, "mid", mid / 2, ("diagonal", o), ("update front", b))
        run("panel", o, "update mid", mid)
        run("rows", o, "far", far / 2, ("diagonal", o))
        run("rows", o, "update front", blocks(o + 3, o + 4), ("mid", o), ("ahead", b))
        run("rows", o, "update far", blocks(o + 4, columns))
        every = ("far", o), ("mid", o)
        run("ahead", o, "ahead", blocks(o + 2, columns), *every, ("bulk front", b))
        run("bulk", o, "bulk front", blocks(o + 3, columns), *every)
        run("bulk", o, "bulk", sum(blocks(t, columns) for t in range(o + 4, columns)), *every)
    return work


def potrf() -> str:
    """The order of the work of one device, from the dependencies of the algorithm."""
    work = _schedule(columns=10, ranks=DEVICES)
    lanes = ("diagonal", "panel", "rows", "ahead", "bulk")
    notes = ("factor A11", "near, mid", "far", "next but one", "all others")
    end = max(stop for *_, stop in work)
    left, width, height = 128, 700, 34
    d = Drawing(
        left + width + 12,
        44 + height * len(lanes),
        "Lanes of one device over time: diagonal blocks and panels of the next steps run beside "
        "the updates of the steps before",
    )
    scale = width / end
    for row, (lane, note) in enumerate(zip(lanes, notes, strict=True)):
        y = 10 + row * height
        d.text(4, y + 13, lane, "strong")
        d.text(4, y + 26, note, "small")
        d.line((left, y + height - 3), (left + width, y + height - 3), kind="grid")
        for where, step, name, begin, stop in work:
            if where == lane:
                kind = f"device-{step % DEVICES}" + (" done" if name.startswith("update") else "")
                wide = (stop - begin) * scale
                text = str(step + 1) if wide > 14 and not name.startswith("update") else ""
                d.rect(left + begin * scale, y, wide, height - 6, kind, text)
    y = 10 + len(lanes) * height
    d.line((left, y + 8), (left + width, y + 8), arrow=True)
    d.text(left, y + 26, "time; numbers and colours: steps; pale: updates by the lane's rows",
           "small")  # fmt: skip
    return figure(
        str(d),
        "The order of the first ten steps on one of four devices, from the events that the lanes "
        "of <code>potrf.h</code> wait for. Durations are operation counts, not measurements.",
    )


# ---- eigenvalues ----


def eigensolver() -> str:
    d = Drawing(760, 250, "Dense matrix to band to tridiagonal to eigenvalues, and eigenvectors "
                "back through both stages")  # fmt: skip
    side, top = 110, 30
    lefts = (10, 226, 442, 640)
    titles = ("dense", "band", "tridiagonal", "eigenvalues")
    for left, title in zip(lefts, titles, strict=True):
        d.text(left + side / 2, 18, title, "strong", "middle")
        d.rect(left, top, side, side, "box")
    strip = side / TILES
    for t in range(TILES):
        d.rect(lefts[0] + t * strip, top, strip, side, f"device-{t % DEVICES}")
    for left, band in ((lefts[1], 22), (lefts[2], 7)):
        right, bottom = left + side, top + side
        d.polygon(
            (left, top), (left + band, top), (right, bottom - band), (right, bottom),
            (right - band, bottom), (left, top + band), kind="device-0",
        )  # fmt: skip
    for k in range(TILES):
        x = lefts[3] + (k + 0.5) * strip - 3
        d.rect(x, top + (k + 0.5) * strip - 3, 6, 6, "device-0")
    steps = (("block", "reflectors"), ("bulge", "chasing"), ("divide &", "conquer"))
    for left, (first, second) in zip(lefts, steps, strict=False):
        begin, stop = left + side + 8, left + side + (98 if left != lefts[2] else 80)
        d.line((begin, top + side / 2), (stop, top + side / 2), arrow=True)
        d.text((begin + stop) / 2, top + side / 2 - 10, first, "small", "middle")
        d.text((begin + stop) / 2, top + side / 2 + 20, second, "small", "middle")
    y = top + side + 60
    d.line((lefts[3] + side / 2, top + side + 8), (lefts[3] + side / 2, y),
           (lefts[2] + side + 8, y), arrow=True)  # fmt: skip
    for left, text in (
        (lefts[2], "vectors of T"),
        (lefts[1], "times Q2"),
        (lefts[0], "times Q1: V"),
    ):
        d.rect(left, y - 22, side, 44, "box", text)
        if left != lefts[0]:
            d.line((left - 8, y), (left - 98, y), arrow=True)
    d.text(lefts[0], y + 44, "each device has a share of the vectors; reflectors are broadcast",
           "small")  # fmt: skip
    return figure(str(d))


def transports() -> str:
    d = Drawing(760, 300, "GPUs of one process use peer access, GPUs of other processes on the "
                "same machine CUDA IPC, and GPUs of other machines NCCL")  # fmt: skip
    for host, left in enumerate((10, 480)):
        d.rect(left, 26, 270, 240, "frame")
        d.text(left + 135, 18, f"machine {host}", "strong", "middle")
        for process in range(2):
            top = 44 + process * 112
            d.rect(left + 16, top, 238, 84, "box")
            d.text(left + 24, top + 16, f"process {2 * host + process}", "small")
            for gpu in range(2):
                number = 2 * process + gpu
                d.rect(left + 34 + gpu * 132, top + 28, 70, 40, f"device-{number}", f"GPU {number}")
            d.line((left + 108, top + 48), (left + 162, top + 48), both=True)
            d.text(left + 135, top + 40, "peer", "small", "middle")
        d.line((left + 69, 116), (left + 69, 180), both=True)
        d.text(left + 78, 146, "CUDA IPC", "small")
    d.line((288, 146), (472, 146), both=True)
    d.text(380, 136, "NCCL", "strong", "middle")
    d.text(380, 166, "network", "small", "middle")
    d.text(10, 290, "All ranks of a call use one transport: here NCCL, on one machine CUDA IPC, in "
           "one process peer access.", "small")  # fmt: skip
    return figure(str(d))


_DRAWINGS = {f.__name__: f for f in (layout, row_shard, tiles, potrf, eigensolver, transports)}


def draw(name: str) -> str:
    return _DRAWINGS[name]()
