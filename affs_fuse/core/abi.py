"""What the C compiler says of the structures that it compiled: names, offsets, sizes, values.

`codec` derives its formats from this, and tests hold the documents against it.

A rule of this room: what `ffi.from_buffer` makes of a memoryview is released by `with`, or is an
argument of a call and nothing else. Kept by a frame that a traceback keeps, in a cycle, it ends the
process: the garbage collector clears the memoryview, and releasing the buffer then follows a null
pointer (seen with CPython 3.11.7 and cffi 2.1.1). A bytearray may be kept: it is never cleared.
"""

from typing import NamedTuple

from affs_fuse._core import ffi, lib

__all__ = ["Field", "fields", "names", "read", "size"]


class Field(NamedTuple):
    """One field. offset and size in bytes; c_type as in C: "uint32_t", "uint8_t[16]", a struct."""

    name: str
    offset: int
    size: int
    c_type: str


def fields(structure: str) -> list[Field]:
    """Of a struct of affs_api.h, in order. Raises ffi.error for an unknown name."""
    return [
        Field(name, field.offset, ffi.sizeof(field.type), field.type.cname)
        for name, field in ffi.typeof(structure).fields
    ]


def size(structure: str) -> int:
    """Bytes of a struct."""
    return ffi.sizeof(structure)


def read(structure: str, image: bytes) -> dict[str, int | bytes]:
    """What compiled code finds in each field: numbers, and of arrays and structs the bytes."""
    if len(image) != ffi.sizeof(structure):
        raise ValueError(f"{structure} has {ffi.sizeof(structure)} bytes")
    value = ffi.new(f"{structure} *")
    ffi.memmove(value, image, len(image))
    return {
        name: getattr(value, name)
        if field.type.kind == "primitive"
        else ffi.buffer(ffi.addressof(value, name))[:]
        for name, field in ffi.typeof(structure).fields
    }


def names() -> set[str]:
    """Every function and constant of the compiled module."""
    return set(dir(lib))
