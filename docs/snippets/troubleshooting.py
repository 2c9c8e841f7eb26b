from functools import partial

a, f = A, partial(jaxmg.linalg.solve, assume_a="pos")
