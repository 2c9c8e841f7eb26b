"""SciPy's BLAS and LAPACK as function pointers for the host engine."""

import ctypes
import functools


@functools.cache
def hand_over(library: ctypes.CDLL) -> None:
    """Pass SciPy's BLAS and LAPACK to the host engine as raw function pointers."""
    from scipy.linalg import cython_blas, cython_lapack

    sources = dict.fromkeys(("gemm", "trsm", "trsv"), cython_blas)
    sources |= dict.fromkeys(("potrf", "getrf", "geqrf", "larft", "gesdd"), cython_lapack)
    names = [(prefix + routine, module) for routine, module in sources.items() for prefix in "sdcz"]
    names += [(name, cython_lapack) for name in ("ssyevd", "dsyevd", "cheevd", "zheevd")]
    for name, module in names:
        library.jaxmg_set_blas(name.encode(), _capsule_pointer(module.__pyx_capi__[name]))


def _capsule_pointer(capsule) -> int:
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    return get_pointer(capsule, get_name(capsule))
