"""What queries may keep in memory: rows that wait to be sorted, groups, the inner side of a join.

Each query has a limit, and all of them together have another; beyond either the query is refused,
with the limit's name and how to raise it. Counted is what is kept, roughly (`ordering.size_of`).
"""

from affs_fuse.errors import AffsError, Category

__all__ = ["QUERY_BYTES_DEFAULT", "QUERY_BYTES_MAX", "TOTAL_BYTES_MAX", "Allowance", "Pool"]

MIB = 1 << 20
QUERY_BYTES_DEFAULT = 64 * MIB
QUERY_BYTES_MAX = 192 * MIB
TOTAL_BYTES_MAX = 192 * MIB


class Pool:
    """The memory of all queries of one daemon."""

    def __init__(self, bytes_max: int = TOTAL_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.used = 0


class Allowance:
    """Of one query. Whoever has it gives everything back with `close`."""

    def __init__(self, pool: Pool, bytes_max: int = QUERY_BYTES_DEFAULT) -> None:
        self._pool = pool
        self.bytes_max = bytes_max
        self.used = 0
        self.peak = 0

    def take(self, size: int, stage: str) -> None:
        """busy or no_space: query.memory."""
        used = self.used + size
        if used > self.bytes_max:
            raise AffsError(
                "query.memory",
                Category.NO_SPACE,
                f"{stage} would keep more than {self.bytes_max:,} bytes in memory, "
                "the limit of a query",
                hint=f"narrow it down with where or limit{self._more()}",
                details={"limit_bytes": self.bytes_max, "stage": stage},
            )
        pool = self._pool
        if pool.used + size > pool.bytes_max:
            raise AffsError(
                "query.memory",
                Category.BUSY,
                f"all queries together would keep more than {pool.bytes_max:,} bytes",
                hint="try again when others have ended",
                retryable=True,
                details={"limit_bytes": pool.bytes_max, "stage": stage},
            )
        self.used = used
        pool.used += size
        if used > self.peak:
            self.peak = used

    def _more(self) -> str:
        """How it can be given more."""
        if self.bytes_max >= QUERY_BYTES_MAX:
            return "; no query is given more"
        most = QUERY_BYTES_MAX // MIB
        return f", or give it up to {most} MiB: `--memory MIB` in front of the query"

    def give(self, size: int) -> None:
        """Something of this size is not kept any more."""
        self.used -= size
        self._pool.used -= size

    def close(self) -> None:
        """Idempotent."""
        self.give(self.used)
