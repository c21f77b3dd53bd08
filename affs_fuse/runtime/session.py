"""Sessions: what the runtime knows of one client, from hello on.

A session outlives its connection for a while and can be resumed by its id. Invariants: the identity
is fixed when the session opens, the role is what the policy says now; only who opened a session can
resume it; one connection at a time; what is kept of those who went is bounded in number and time.
"""

from collections import deque
from dataclasses import dataclass, field

from affs_fuse.auv import Value
from affs_fuse.clock import Clock, Entropy
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.authentication import Authentication
from affs_fuse.runtime.inputs import Inputs
from affs_fuse.runtime.policy import Identity, Policy, Role

__all__ = ["HistoryEntry", "Session", "SessionStatistics", "Sessions"]

IDLE_S = 3600
"""After this long without a connection a session is forgotten."""

DETACHED_MAX = 256
DETACHED_OF_USER_MAX = 32
"""Sessions without a connection; the ones that have been so longest go first."""

HISTORY_MAX = 200


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line, and what became of it. error: its code, or ""."""

    number: int
    line: str
    time_ns: int
    seconds: float
    error: str


@dataclass(slots=True, eq=False)
class Session:
    """id: 32 hex digits. client: the name that the client gave itself, for logs alone. directory:
    what relative paths begin at. last_ns: of the newest request, or of the end of the connection.
    own: of the daemon itself, so that no personality applies: those are for people."""

    id: str
    identity: Identity
    client: str
    opened_ns: int
    policy: Policy
    directory: str = "/"
    last_ns: int = 0
    attached: bool = True
    requests: int = 0
    own: bool = False
    history: deque[HistoryEntry] = field(default_factory=lambda: deque(maxlen=HISTORY_MAX))
    inputs: Inputs = field(default_factory=Inputs)

    @property
    def role(self) -> Role:
        """Now, for commands that no rule names."""
        return self.policy.role(self.identity)

    def note(self, line: str, time_ns: int, seconds: float, error: str) -> None:
        """A request has ended."""
        self.requests += 1
        self.last_ns = time_ns
        self.history.append(HistoryEntry(self.requests, line, time_ns, seconds, error))


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """open: with a connection now. detached: without one, to be resumed. opened: since the
    start."""

    open: int
    detached: int
    opened: int


class Sessions:
    """Those that are open, and those that can be resumed. Loop thread only."""

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        entropy: Entropy,
        authentication: Authentication | None = None,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._entropy = entropy
        self._authentication = authentication or Authentication()
        self._known: dict[str, Session] = {}
        self._opened = 0

    def open(self, identity: Identity, client: str, *, own: bool = False) -> Session:
        """A new session of somebody who is known; own: of the daemon itself."""
        now_ns = self._clock.now_ns()
        session = Session(
            self._entropy(16).hex(), identity, client, now_ns, self._policy, last_ns=now_ns, own=own
        )
        self._known[session.id] = session
        self._opened += 1
        return session

    def greet(
        self, peer: Identity, client: str, session_id: str, offer: dict[str, Value] | None
    ) -> tuple[Session, bool]:
        """The session of a new connection, and whether it is the one that it asked for: a session
        that is not known, is over, or belongs to somebody else is a new one. denied: auth.refused;
        unsupported: auth.unknown; busy: session.attached."""
        self._forget_idle()
        identity = self._authentication.identify(peer, offer)
        found = self._known.get(session_id)
        if found is None or _who(found.identity) != _who(identity):
            return self.open(identity, client), False
        if found.attached:
            raise AffsError(
                "session.attached",
                Category.BUSY,
                "another connection has this session",
                hint="it can be resumed when that connection has ended",
                retryable=True,
            )
        found.attached, found.client, found.identity = True, client, identity
        found.last_ns = self._clock.now_ns()
        del self._known[found.id]
        self._known[found.id] = found
        return found, True

    def check(self, session: Session) -> None:
        """That whoever opened it may go on. denied: auth.refused."""
        self._authentication.check(session.identity)

    def detach(self, session: Session) -> None:
        """Its connection has ended. Idempotent."""
        if not session.attached or session.id not in self._known:
            return
        session.attached = False
        session.last_ns = self._clock.now_ns()
        self._forget_idle()
        waiting = sorted((one for one in self._known.values() if not one.attached), key=_last)
        own = [one for one in waiting if one.identity.uid == session.identity.uid]
        for one in own[:-DETACHED_OF_USER_MAX] or waiting[:-DETACHED_MAX]:
            self.close(one)

    def close(self, session: Session) -> None:
        """For good. Idempotent."""
        self._known.pop(session.id, None)

    def list(self) -> list[Session]:
        """In the order in which they were opened or resumed."""
        self._forget_idle()
        return [*self._known.values()]

    def statistics(self) -> SessionStatistics:
        attached = sum(session.attached for session in self._known.values())
        return SessionStatistics(attached, len(self._known) - attached, self._opened)

    def _forget_idle(self) -> None:
        oldest_ns = self._clock.now_ns() - IDLE_S * 10**9
        for session in [*self._known.values()]:
            if not session.attached and session.last_ns < oldest_ns:
                self.close(session)


def _who(identity: Identity) -> tuple[int, int]:
    return identity.uid, identity.token


def _last(session: Session) -> int:
    return session.last_ns
