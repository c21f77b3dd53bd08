"""Names of users and groups, as the system that the daemon runs on knows them."""

from typing import Protocol

__all__ = ["Accounts", "NoAccounts"]


class Accounts(Protocol):
    """May ask the network: called in a worker thread. None: there is no such account."""

    def user_id(self, name: str) -> int | None: ...

    def group_id(self, name: str) -> int | None: ...

    def user_name(self, uid: int) -> str: ...

    def group_name(self, gid: int) -> str: ...


class NoAccounts:
    """Where there are numbers alone."""

    def user_id(self, name: str) -> int | None:
        return None

    def group_id(self, name: str) -> int | None:
        return None

    def user_name(self, uid: int) -> str:
        return str(uid)

    def group_name(self, gid: int) -> str:
        return str(gid)
