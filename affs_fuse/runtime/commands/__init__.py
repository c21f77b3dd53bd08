"""One module per command; `COMMANDS` is all of them, in the order of the help page."""

from typing import Any

from affs_fuse.runtime.command import Command
from affs_fuse.runtime.commands.checkpoint import CHECKPOINT
from affs_fuse.runtime.commands.checkpoints import CHECKPOINTS
from affs_fuse.runtime.commands.collections import (
    CHECK,
    COLLECTION,
    COLLECTIONS,
    DECLARE,
    EVOLVE,
    UNDECLARE,
)
from affs_fuse.runtime.commands.commit import COMMIT
from affs_fuse.runtime.commands.complete import COMPLETE
from affs_fuse.runtime.commands.delete import DELETE
from affs_fuse.runtime.commands.describe import DESCRIBE
from affs_fuse.runtime.commands.df import DF
from affs_fuse.runtime.commands.diff import DIFF
from affs_fuse.runtime.commands.explain import EXPLAIN
from affs_fuse.runtime.commands.find import FIND, GET, LIST
from affs_fuse.runtime.commands.help import HELP
from affs_fuse.runtime.commands.hold import HOLD
from affs_fuse.runtime.commands.hooks import HOOK, HOOKS, UNHOOK
from affs_fuse.runtime.commands.indexes import INDEX, INDEXES, REINDEX, UNINDEX
from affs_fuse.runtime.commands.log import LOG
from affs_fuse.runtime.commands.metrics import METRICS, PROMETHEUS
from affs_fuse.runtime.commands.personality import (
    INSTALL,
    PERSONALITIES,
    PERSONALITY,
    REMOVE,
    UPGRADE,
    USE,
)
from affs_fuse.runtime.commands.pin import PIN
from affs_fuse.runtime.commands.ping import PING
from affs_fuse.runtime.commands.provenance import BLAME, HISTORY
from affs_fuse.runtime.commands.publish import PUBLISH
from affs_fuse.runtime.commands.records import BATCH, CREATE, ERASE, MOVE, UPDATE
from affs_fuse.runtime.commands.restore import RESTORE
from affs_fuse.runtime.commands.retention import EXPIRE, RETENTION, SET_RETENTION
from affs_fuse.runtime.commands.roles import GRANT, REVOKE, ROLES
from affs_fuse.runtime.commands.rollback import ROLLBACK
from affs_fuse.runtime.commands.session import CD, LINES, PWD, WHO
from affs_fuse.runtime.commands.show import SHOW
from affs_fuse.runtime.commands.slow import SLOW
from affs_fuse.runtime.commands.status import STATUS
from affs_fuse.runtime.commands.tokens import CREATE_TOKEN, REVOKE_TOKEN, TOKENS
from affs_fuse.runtime.commands.transfer import (
    DROP_IMPORT,
    EXPORT,
    IMPORT,
    IMPORTS,
    INPUT,
)
from affs_fuse.runtime.commands.undo import REDO, UNDO
from affs_fuse.runtime.commands.unpin import UNPIN
from affs_fuse.runtime.commands.verify import VERIFY
from affs_fuse.runtime.commands.watch import WATCH

__all__ = ["COMMANDS"]

COMMANDS: tuple[Command[Any], ...] = (
    STATUS,
    COMMIT,
    CHECKPOINT,
    PUBLISH,
    ROLLBACK,
    UNDO,
    REDO,
    DIFF,
    CHECKPOINTS,
    SHOW,
    PIN,
    UNPIN,
    HOLD,
    DELETE,
    FIND,
    LIST,
    GET,
    EXPLAIN,
    HISTORY,
    BLAME,
    RESTORE,
    RETENTION,
    SET_RETENTION,
    EXPIRE,
    CREATE,
    UPDATE,
    MOVE,
    ERASE,
    BATCH,
    COLLECTIONS,
    COLLECTION,
    CHECK,
    DECLARE,
    EVOLVE,
    UNDECLARE,
    INDEXES,
    INDEX,
    UNINDEX,
    REINDEX,
    IMPORT,
    IMPORTS,
    DROP_IMPORT,
    EXPORT,
    LOG,
    DF,
    VERIFY,
    WATCH,
    METRICS,
    PROMETHEUS,
    SLOW,
    HOOKS,
    HOOK,
    UNHOOK,
    PERSONALITIES,
    PERSONALITY,
    USE,
    INSTALL,
    UPGRADE,
    REMOVE,
    ROLES,
    GRANT,
    REVOKE,
    TOKENS,
    CREATE_TOKEN,
    REVOKE_TOKEN,
    CD,
    PWD,
    LINES,
    WHO,
    PING,
    HELP,
    DESCRIBE,
    COMPLETE,
    INPUT,
)
