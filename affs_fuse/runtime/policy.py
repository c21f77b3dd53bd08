"""Who may do what: identities, the three roles, and the table that gives an identity its role.

Invariant: the role comes from the peer's credentials as the kernel reports them and from the
volume's policy, never from anything the peer says.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from affs_fuse.errors import AffsError, Category

__all__ = ["Identity", "Policy", "PolicyTable", "Role"]


class Role(IntEnum):
    """Each includes the ones below it."""

    OBSERVER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As it stands in messages and values."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer of the control socket. groups: all of them, the primary one included. pid: for
    messages alone, since it may be another process by now; 0 when unknown. user: a name for uid, or
    its digits."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    pid: int = 0
    user: str = ""


PolicyTable = Callable[[Identity], Role | None]
"""The role that the volume's policy gives an identity, or None when it says nothing about it."""


def _no_table(identity: Identity) -> Role | None:
    return None


@dataclass(frozen=True, slots=True)
class Policy:
    """owner_uid: of the mount; it and root are admin. others: the role of whoever else the socket's
    mode lets in, when the table says nothing."""

    owner_uid: int
    table: PolicyTable = field(default=_no_table)
    others: Role = Role.OBSERVER

    def role(self, identity: Identity) -> Role:
        if identity.uid in (0, self.owner_uid):
            return Role.ADMIN
        found = self.table(identity)
        return self.others if found is None else found

    @staticmethod
    def demand(needed: Role, held: Role, command: str) -> None:
        """denied: policy.role, which names the role that the command takes."""
        if held < needed:
            raise AffsError(
                "policy.role",
                Category.DENIED,
                f"{command} takes the role {needed.word}, this session has {held.word}",
                hint="ask root or the owner of the mount",
                details={"command": command, "needed": needed.word, "role": held.word},
            )
