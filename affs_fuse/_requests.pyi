"""Stub of the module that takes requests off before libfuse (native/build_requests.py)."""

from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

class FFI:
    def def_extern(self) -> Callable[[_F], _F]: ...
    def buffer(self, cdata: Any, size: int = ...) -> Any: ...

class Lib:
    def affs_requests_claim(self) -> int: ...
    def affs_requests_begin(self, wanted: int) -> None: ...
    def affs_requests_seen(self) -> int: ...

ffi: FFI
lib: Lib
