"""Who may do what: identities, the three roles, and the rules that give an identity its role.

Invariants: the role comes from the identity that a provider found (authentication.py) and from the
volume's rules (roles.py) as they are now, never from anything the peer says; the owner of the mount
and root are admin whatever the rules say, so nobody can be locked out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from affs_fuse.errors import AffsError, Category
from affs_fuse.query.paths import path_bytes

__all__ = ["Identity", "Policy", "Role", "Rule"]


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
    its digits. token: number of the token that it proved itself by, 0 for none, and when that was
    made. role_max: no role above it, whatever the rules say."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    pid: int = 0
    user: str = ""
    token: int = 0
    token_made_ns: int = 0
    role_max: Role = Role.ADMIN


@dataclass(frozen=True, slots=True)
class Rule:
    """A user or group has a role: for all commands, or (commands not empty) for these alone; with
    paths only for what lies below one of them."""

    role: Role
    uid: int | None = None
    gid: int | None = None
    commands: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def restricted(self) -> bool:
        return bool(self.commands or self.paths)

    def fits(self, identity: Identity) -> bool:
        if identity.uid == self.uid:
            return True
        return self.gid is not None and self.gid in (identity.gid, *identity.groups)

    def covers(self, command: str, paths: Sequence[str]) -> bool:
        """paths: those that an invocation names, absolute; without any, a rule with paths does not
        cover it."""
        if self.commands and command not in self.commands:
            return False
        return not self.paths or (
            bool(paths) and all(any(_below(path, top) for top in self.paths) for path in paths)
        )


def _below(path: str, top: str) -> bool:
    try:
        inner, outer = path_bytes(path), path_bytes(top)
    except AffsError:  # what cannot be read gives nobody anything
        return False
    return inner == outer or inner.startswith(outer.rstrip(b"/") + b"/")


def _no_rules() -> Sequence[Rule]:
    return ()


@dataclass(frozen=True, slots=True)
class Policy:
    """owner_uid: of the mount; it and root are admin. rules: those of the volume, as they are now.
    others: the role of whoever else the socket's mode lets in, when no rule fits."""

    owner_uid: int
    rules: Callable[[], Sequence[Rule]] = field(default=_no_rules)
    others: Role = Role.OBSERVER

    def role(self, identity: Identity) -> Role:
        """Whatever the command."""
        return self._role(identity, lambda rule: not rule.restricted)

    def role_for(self, identity: Identity, command: str, paths: Sequence[str]) -> Role:
        """For one invocation: what rules for this command, and these paths, add."""
        return self._role(identity, lambda rule: rule.covers(command, paths))

    def _role(self, identity: Identity, applies: Callable[[Rule], bool]) -> Role:
        if identity.uid in (0, self.owner_uid):
            return identity.role_max
        found = [rule.role for rule in self.rules() if rule.fits(identity) and applies(rule)]
        return min(identity.role_max, max(found, default=self.others))

    @staticmethod
    def demand(needed: Role, held: Role, command: str, user: str = "") -> None:
        """denied: policy.role, which names the role that the command takes."""
        if held < needed:
            grant = f"grant {user} {needed.word}" if user else f"grant USER {needed.word}"
            raise AffsError(
                "policy.role",
                Category.DENIED,
                f"{command} takes the role {needed.word}, this session has {held.word}",
                hint=f"ask root, the owner of the mount, or an admin of the volume (`{grant}`)",
                details={"command": command, "needed": needed.word, "role": held.word},
            )
