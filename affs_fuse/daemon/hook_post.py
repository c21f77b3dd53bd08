"""`python -m affs_fuse.daemon.hook_post URL`: posts its standard input, for a hook.

A process of its own, so that the daemon needs no TLS, and whatever a server does can be ended.
Redirects are not followed: the host allowed this URL and no other. Exit status 0 for 2xx.
"""

import http.client
import sys
from urllib.parse import urlsplit

__all__ = ["main"]

ANSWER_BYTES_MAX = 2048
SOCKET_TIMEOUT_S = 600


def main(arguments: list[str]) -> int:
    """The exit status."""
    parts = urlsplit(arguments[0])
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SOCKET_TIMEOUT_S)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            "POST", target, sys.stdin.buffer.read(),
            {"Content-Type": "application/json", "User-Agent": "affs-hook", "Connection": "close"},
        )
        answer = connection.getresponse()
        text = answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{answer.status} {answer.reason}\n{text}")
    return 0 if 200 <= answer.status < 300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
