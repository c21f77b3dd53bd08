"""Hooks on a real mount: programs and requests, hostile volumes, and a mount that never waits."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mounted import Mounted

from affs_ctl.client import Client
from affs_fuse.protocol import Event


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def wait_for(client: Client, hook: str, field: str = "done", count: int = 1) -> dict[str, Any]:
    """Asks until the hook has run; the test's own timeout ends it otherwise."""
    while True:
        (row,) = [one for one in client.run("hooks") if one["name"] == hook]
        if row[field] >= count:
            return dict(row)


def test_a_program_gets_the_event(folder: Path) -> None:
    out = folder / "out"
    path = program(folder / "p", f"cat > {out}.new; mv {out}.new {out}; echo seen")
    with Mounted(folder, options="hooks=all") as mounted, mounted.client() as client:
        client.command("hook", {"name": "p", "on": ["publish"], "run": path})
        state = client.run("publish", trace="trace-7")
        wait_for(client, "p")
        told = json.loads(out.read_text())
        assert told["event"]["state"] == state["id"]
        assert told["event"]["trace"] == "trace-7"
        assert told["mount"] == str(mounted.directory)
    (line,) = [one for one in mounted.read_log().splitlines() if "the hook p is done" in one]
    assert "output=seen" in line
    assert "trace=trace-7" in line


def test_hooks_survive_rollback_and_remount(folder: Path) -> None:
    path = program(folder / "p", "true")
    with Mounted(folder, options="hooks=all,commit_interval=0") as mounted:
        mounted.affsctl("publish")
        mounted.affsctl("hook", "p", "publish", "--run", path)
        mounted.affsctl("rollback", "--yes")
        mounted.remount()
        assert [one["name"] for one in mounted.affsctl("hooks")] == ["p"]


def test_a_volume_of_somebody_else_runs_nothing(folder: Path) -> None:
    out = folder / "out"
    path = program(folder / "p", f"touch {out}")
    mounted = Mounted(folder, options="hooks=all")
    with mounted:
        mounted.affsctl("hook", "p", "publish", "--run", path)
    mounted.options = ""
    mounted.allowed = ["does not list it"]
    with mounted, mounted.client() as client:
        call = client.start("watch hook --count 1")
        client.run("publish")
        (event,) = [part.event for part in call.parts() if isinstance(part, Event)]
        assert (event["outcome"], event["hook"]) == ("refused", "p")
        (row,) = client.run("hooks")
        assert row["allowed"] is False
    assert not out.exists()


def test_a_program_on_the_volume_itself_is_refused(folder: Path) -> None:
    mounted = Mounted(folder, options="hooks=all")
    mounted.allowed = ["it lies on this volume"]
    with mounted, mounted.client() as client:
        path = program(mounted.directory / "p", "true")
        client.command("hook", {"name": "p", "on": ["publish"], "run": path})
        call = client.start("watch hook --count 1")
        client.run("publish")
        (event,) = [part.event for part in call.parts() if isinstance(part, Event)]
        assert event["outcome"] == "refused"


def test_hooks_that_hang_never_hold_the_mount_up(folder: Path) -> None:
    """Neither requests, nor commands, nor the unmount."""
    fifo = folder / "fifo"
    path = program(folder / "p", f"[ -p {fifo} ] || mkfifo {fifo}; read line < {fifo}")
    with Mounted(folder, options="hooks=all") as mounted, mounted.client() as client:
        client.command("hook", {"name": "p", "on": ["commit"], "run": path, "seconds": 600})
        for number in range(20):
            (mounted.directory / f"f{number}").write_text("x")
            client.run("commit")
        assert client.run("ping")
        assert (mounted.directory / "f19").read_text() == "x"


@contextmanager
def server(status: int, got: list[bytes]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(b"thanks")

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/hook"
        finally:
            listening.shutdown()
            thread.join()


def test_a_request_is_posted_and_no_redirect_followed(folder: Path) -> None:
    good: list[bytes] = []
    moved: list[bytes] = []
    mounted = Mounted(folder, options="hooks=all")
    mounted.allowed = ["the hook moved: ended with 1"]
    with (
        server(200, good) as url,
        server(302, moved) as elsewhere,
        mounted,
        mounted.client() as client,
    ):
        client.command("hook", {"name": "good", "on": ["publish"], "post": url})
        client.command("hook", {"name": "moved", "on": ["publish"], "post": elsewhere})
        state = client.run("publish")
        wait_for(client, "good")
        row = wait_for(client, "moved", "failed")
    assert json.loads(good[0])["event"]["state"] == state["id"]
    assert len(moved) == 1
    assert row["last"] == "ended with 1"
