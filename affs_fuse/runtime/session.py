"""Sessions: what the runtime knows of one client between hello and goodbye.

Invariant: identity and role are fixed when the session opens; a change of policy reaches new
sessions.
"""

from dataclasses import dataclass

from affs_fuse.clock import Clock, Entropy
from affs_fuse.runtime.policy import Identity, Policy, Role

__all__ = ["Session", "SessionStatistics", "Sessions"]


@dataclass(frozen=True, slots=True)
class Session:
    """id: 32 hex digits. client: the name that the client gave itself, for logs alone."""

    id: str
    identity: Identity
    role: Role
    client: str
    opened_ns: int


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """open: now. opened: since the start."""

    open: int
    opened: int


class Sessions:
    """The sessions that are open."""

    def __init__(self, policy: Policy, clock: Clock, entropy: Entropy) -> None:
        self._policy = policy
        self._clock = clock
        self._entropy = entropy
        self._open: dict[str, Session] = {}
        self._opened = 0

    def open(self, identity: Identity, client: str) -> Session:
        session = Session(
            id=self._entropy(16).hex(),
            identity=identity,
            role=self._policy.role(identity),
            client=client,
            opened_ns=self._clock.now_ns(),
        )
        self._open[session.id] = session
        self._opened += 1
        return session

    def close(self, session: Session) -> None:
        """Idempotent."""
        self._open.pop(session.id, None)

    def list(self) -> list[Session]:
        """In the order in which they were opened."""
        return [*self._open.values()]

    def statistics(self) -> SessionStatistics:
        return SessionStatistics(len(self._open), self._opened)
