"""Check that every CUDA header of a build came from the CUDA toolkit that was chosen for it.

    python check_headers.py NINJA BUILD_FOLDER PATTERN INCLUDE_FOLDER...

reads the dependencies of outputs whose names contain PATTERN, as the compiler reported them to
Ninja. A header that the chosen toolkit lacks may come from a folder that every compiler searches,
such as /usr/local/include, from another release; on the next machine it is missing.
"""

import os
import subprocess
import sys
from pathlib import Path

# Folders of a complete toolkit, even if the chosen toolkit lacks some.
FOLDERS = {"cccl", "cooperative_groups", "crt", "cub", "cuda", "libcudacxx", "nv", "thrust"}


def read_dependencies(text, pattern):
    """Return {output: its dependencies} from what ``ninja -t deps`` printed.

    Outputs that have not been built since their sources changed are left out.
    """
    outputs, dependencies = {}, None
    for line in text.splitlines():
        if line.startswith("    "):
            if dependencies is not None:
                dependencies.append(line.strip())
        elif line.strip():
            output, _, state = line.partition(": ")
            wanted = pattern in output and state.endswith("(VALID)")
            dependencies = outputs.setdefault(output, []) if wanted else None
    return outputs


def find_misplaced(paths, folders):
    """Return how many of ``paths`` lie in ``folders``, and the CUDA headers that lie elsewhere.

    A header is CUDA's if it lies in some include folder under a name that one of ``folders`` has,
    or in one of `FOLDERS`.
    """
    folders = [os.path.realpath(folder) for folder in folders]
    names = {"nccl.h", *FOLDERS}
    for folder in folders:
        if Path(folder, "cuda_runtime_api.h").exists() or Path(folder, "nv/target").exists():
            names.update(os.listdir(folder))
    found, misplaced = 0, set()
    for path in paths:
        real = os.path.realpath(path)
        if any(real.startswith(folder + os.sep) for folder in folders):
            found += 1
            continue
        _, include, inside = os.path.normpath(path).rpartition("/include/")
        if include and inside.partition("/")[0] in names:
            misplaced.add(path)
    return found, sorted(misplaced)


def main():
    ninja, build, pattern, *folders = sys.argv[1:]
    command = [ninja, "-C", build, "-t", "deps"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    outputs = read_dependencies(text, pattern)
    paths = {os.path.join(build, path) for paths in outputs.values() for path in paths}
    found, misplaced = find_misplaced(paths, folders)
    if misplaced:
        sys.exit(f"CUDA headers from outside of {', '.join(folders)}:\n  " + "\n  ".join(misplaced))
    if not found:
        sys.exit(f"No output of {build} named *{pattern}* depends on a header in {folders}")
    print(f"{found} CUDA headers of {len(outputs)} outputs, all from {', '.join(folders)}")


if __name__ == "__main__":
    main()
