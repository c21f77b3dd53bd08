"""Who is at the other end: providers that turn a peer, and what it offers in `hello`, into an
identity.

A provider says nothing of an offer that is not for it. Invariants: what the kernel says of the peer
is always there, an offer is not believed without proof; secrets are compared in constant time, and
the volume keeps nothing that they could be made from.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from affs_fuse.auv import Value
from affs_fuse.clock import Clock, Entropy
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.policy import Identity, Role
from affs_fuse.runtime.roles import ROLE_WORDS
from affs_fuse.runtime.settings_port import SettingsPort
from affs_fuse.volume.settings import SettingKind

__all__ = ["Authentication", "PeerCredentials", "Provider", "Tokens", "made_token"]

PREFIX = "affs"
SECRET_BYTES = 32
"""So many random bytes need no slow hash: nobody tries 2^256 of them."""


class Provider(Protocol):
    """One way to prove who one is."""

    def holds(self, identity: Identity) -> bool:
        """Whether what this provider found is true at this time; also of what others found."""

    def authenticate(self, peer: Identity, offer: Mapping[str, Value] | None) -> Identity | None:
        """peer: as the kernel sees it. offer: `auth` of hello. None: this is not for me. denied:
        auth.refused."""


class PeerCredentials:
    """Who offers nothing is who the kernel says."""

    def holds(self, identity: Identity) -> bool:
        return True

    def authenticate(self, peer: Identity, offer: Mapping[str, Value] | None) -> Identity | None:
        return peer if offer is None else None


class Tokens:
    """`{"token": TEXT}`: settings of the kind tokens, by number: hash, uid, gid, user, role,
    until_ns (or Null), note, created_ns."""

    def __init__(self, settings: SettingsPort, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def authenticate(self, peer: Identity, offer: Mapping[str, Value] | None) -> Identity | None:
        if offer is None or "token" not in offer:
            return None
        number, secret = _parts(offer["token"])
        found: Any = self._settings.get(SettingKind.TOKENS, number) if number else None
        kept = found if isinstance(found, dict) else {}
        expected = kept.get("hash")
        # Also without a token of that number something is compared, in the same time.
        same = hmac.compare_digest(
            hashlib.sha256(secret).digest(), expected if isinstance(expected, bytes) else bytes(32)
        )
        if not same or self._over(kept) or not isinstance(expected, bytes):
            raise AffsError(
                "auth.refused",
                Category.DENIED,
                "this token is not known, was revoked, or its time is over",
                hint="`create-token` makes a new one",
            )
        role = ROLE_WORDS.get(str(kept["role"]), Role.OBSERVER)
        gid = kept["gid"]
        return Identity(
            kept["uid"], gid, frozenset({gid}), peer.pid, kept["user"], number,
            kept["created_ns"], role,
        )

    def holds(self, identity: Identity) -> bool:
        if not identity.token:
            return True
        kept = self._settings.get(SettingKind.TOKENS, identity.token)
        return (
            isinstance(kept, dict)
            and kept.get("created_ns") == identity.token_made_ns
            and not self._over(kept)
        )

    def _over(self, kept: Mapping[str, Any]) -> bool:
        until_ns = kept.get("until_ns")
        return until_ns is not None and until_ns <= self._clock.now_ns()


def _parts(token: Value) -> tuple[int, bytes]:
    """Number and secret; 0 where it has no such form."""
    words = token.split("_") if isinstance(token, str) else []
    if len(words) != 3 or words[0] != PREFIX or not (words[1].isascii() and words[1].isdecimal()):
        return 0, b""
    return int(words[1][:18]), words[2].encode()


@dataclass(frozen=True, slots=True)
class _Made:
    """secret: what the client keeps. value: what the volume keeps."""

    secret: bytes
    value: dict[str, Any]

    def text(self, number: int) -> str:
        return f"{PREFIX}_{number}_{self.secret.decode()}"


def made_token(
    identity: Identity, role: Role, until_ns: int | None, note: str, now_ns: int, entropy: Entropy
) -> _Made:
    """A token that stands for an identity, with no role above `role`."""
    secret = entropy(SECRET_BYTES).hex().encode()
    value: dict[str, Any] = {
        "hash": hashlib.sha256(secret).digest(), "uid": identity.uid, "gid": identity.gid,
        "user": identity.user, "role": role.word, "until_ns": until_ns, "note": note,
        "created_ns": now_ns,
    }  # fmt: skip
    return _Made(secret, value)


class Authentication:
    """Asks one provider after the other."""

    def __init__(self, providers: Sequence[Provider] = (PeerCredentials(),)) -> None:
        self._providers = tuple(providers)

    def identify(self, peer: Identity, offer: Mapping[str, Value] | None) -> Identity:
        """denied: auth.refused; unsupported: auth.unknown."""
        for provider in self._providers:
            identity = provider.authenticate(peer, offer)
            if identity is not None:
                return identity
        raise AffsError(
            "auth.unknown",
            Category.UNSUPPORTED,
            "no provider here knows this way of authentication",
            hint="without `auth` the credentials of the process count; `token` takes a token",
        )

    def check(self, identity: Identity) -> None:
        """That an identity found earlier is still what it was. denied: auth.refused."""
        if not all(provider.holds(identity) for provider in self._providers):
            raise AffsError(
                "auth.refused", Category.DENIED,
                "the token of this session was revoked, or its time is over",
                hint="connect anew, with another token",
            )
