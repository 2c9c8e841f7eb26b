"""Compile a CUDA source to PTX with NVRTC.

    python compile_kernels.py LIBNVRTC SOURCE OUTPUT ARCHITECTURE [INCLUDE_FOLDER...]

For builds without nvcc. The PTX is compiled for the GPU by its driver when the library is loaded.
"""

import ctypes
import sys
from pathlib import Path


class Nvrtc:
    """The functions of libnvrtc that a compilation needs."""

    def __init__(self, library):
        # NVRTC loads its companion, libnvrtc-builtins, by name: it must be loaded already.
        for builtins in Path(library).parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(library)
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name}: {self.library.nvrtcGetErrorString(status).decode()}")

    def text(self, size, content, program):
        """Return the log or the PTX, by two functions for its size and its text."""
        length = ctypes.c_size_t()
        self.call(size, program, ctypes.byref(length))
        buffer = ctypes.create_string_buffer(length.value)
        self.call(content, program, buffer)
        return buffer.raw.rstrip(b"\0")

    def ptx(self, source, options):
        program = ctypes.c_void_p()
        self.call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.read_bytes(),
            str(source).encode(),
            0,
            None,
            None,
        )
        encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        try:
            self.call("nvrtcCompileProgram", program, len(options), encoded)
        except RuntimeError as error:
            log = self.text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog", program)
            raise RuntimeError(f"{error}\n{log.decode()}") from None
        return self.text("nvrtcGetPTXSize", "nvrtcGetPTX", program)


def main():
    library, source, output, architecture, *folders = sys.argv[1:]
    options = [f"--gpu-architecture=compute_{architecture}", "--std=c++17"]
    options += [f"--include-path={folder}" for folder in folders]
    try:
        ptx = Nvrtc(library).ptx(Path(source), options)
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))
    Path(output).write_bytes(ptx)


if __name__ == "__main__":
    main()
