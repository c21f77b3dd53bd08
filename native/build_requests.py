"""Build script of the module that takes requests off before libfuse (native/requests)."""

from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
FOLDER = NATIVE / "requests"

ffibuilder = FFI()
ffibuilder.cdef((FOLDER / "affs_requests.h").read_text())
ffibuilder.cdef(
    'extern "Python" int affs_requests_take(int descriptor, void *request, size_t length);'
    'extern "Python" int64_t affs_requests_take_write('
    "    int descriptor, void *request, size_t length, int handed_over);"
)
ffibuilder.set_source(
    "affs_fuse._requests",
    # cffi defines the callback in its own text, so the code that calls it is part of that text.
    '#include "requests.c"\n#include "channel.c"',
    include_dirs=["native/requests"],
    depends=[f"native/requests/{path.name}" for path in sorted(FOLDER.glob("*.[ch]"))],
    extra_compile_args=[
        "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-D_FORTIFY_SOURCE=2",
        "-fstack-protector-strong", "-fvisibility=hidden",
    ],
)

if __name__ == "__main__":
    ffibuilder.compile(tmpdir=str(NATIVE.parent), verbose=True)
