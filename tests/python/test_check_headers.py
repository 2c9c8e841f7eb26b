"""cmake/check_headers.py: detection of CUDA headers from another toolkit."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "cmake" / "check_headers.py"
spec = importlib.util.spec_from_file_location("check_headers", SCRIPT)
check_headers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_headers)


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_headers_of_another_toolkit_are_found(tmp_path):
    chosen = make(tmp_path / "cuda-12/include", "cuda_runtime_api.h", "cublas_v2.h")
    other = make(tmp_path / "local/include", "cublas_v2.h", "nv/target", "gtest/gtest.h")
    system = make(tmp_path / "usr/include", "stdio.h", "c++/12/vector")
    own = make(tmp_path / "include/cuda/jaxmg/build/include/engine_cuda", "engine/cuda/team.h")
    (tmp_path / "link").symlink_to(tmp_path / "cuda-12")
    good = [
        chosen / "cuda_runtime_api.h",
        tmp_path / "link/include/cublas_v2.h",
        other / "gtest/gtest.h",
        system / "stdio.h",
        system / "c++/12/vector",
        own / "engine/cuda/team.h",
    ]
    bad = [other / "cublas_v2.h", other / "nv/target"]
    assert check_headers.find_misplaced(map(str, good), [chosen]) == (2, [])
    assert check_headers.find_misplaced(map(str, good + bad), [chosen]) == (2, [*map(str, bad)])


def test_only_outputs_that_are_up_to_date_count():
    text = """\
a_cuda12.dir/x.cc.o: #deps 2, deps mtime 17 (VALID)
    /usr/include/stdio.h
    ../x.h

a_host.dir/x.cc.o: #deps 1, deps mtime 17 (VALID)
    ../y.h

a_cuda12.dir/old.cc.o: #deps 1, deps mtime 16 (STALE)
    ../z.h
"""
    dependencies = check_headers.read_dependencies(text, "cuda12")
    assert dependencies == {"a_cuda12.dir/x.cc.o": ["/usr/include/stdio.h", "../x.h"]}
