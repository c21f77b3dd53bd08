"""Build script of the C core: one declaration text for the compiler and for cffi (API mode)."""

from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
ROOT = NATIVE.parent


def relative(paths: list[Path]) -> list[str]:
    """setuptools wants sources relative to setup.py, which is also where builds run."""
    return [str(path.relative_to(ROOT)) for path in sorted(paths)]


ffibuilder = FFI()
ffibuilder.cdef((NATIVE / "include" / "affs_api.h").read_text())
ffibuilder.set_source(
    "affs_fuse._core",
    '#include "affs_core.h"',
    sources=relative(list((NATIVE / "src").glob("*.c"))),
    include_dirs=["native/include", "native/src"],
    depends=relative([*(NATIVE / "include").glob("*.h"), *(NATIVE / "src").glob("*.h")]),
    extra_compile_args=[
        "-std=c11", "-O3", "-g", "-UNDEBUG", "-Wall", "-Wextra", "-D_FORTIFY_SOURCE=2",
        "-fstack-protector-strong", "-fvisibility=hidden",
    ],
)

if __name__ == "__main__":
    ffibuilder.compile(tmpdir=str(ROOT), verbose=True)
