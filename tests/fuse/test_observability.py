"""A mounted volume watched from outside: metrics, the service manager, the slow log."""

import os
import socket
from pathlib import Path

import pytest
from mounted import Mounted
from prometheus_client.parser import text_string_to_metric_families

from affs_fuse.protocol import Event, RemoteError


def samples(text: str) -> dict[str, float]:
    """By name and labels, without the volume's."""
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = {key: value for key, value in one.labels.items() if key != "volume"}
            words = [f"{key}={value}" for key, value in labels.items()]
            found[" ".join([one.name, *words])] = one.value
    return found


def scrape(path: Path) -> dict[str, float]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return samples(answer.partition(b"\r\n\r\n")[2].decode())


def test_figures_follow_what_is_done(folder: Path) -> None:
    offered = folder / "metrics"
    with Mounted(folder, options=f"metrics={offered},commit_interval=0") as mounted:
        before = scrape(offered)
        with open(mounted.directory / "a", "wb") as file:
            file.write(b"x" * 100_000)
            os.fsync(file.fileno())
        assert not (mounted.directory / "absent").exists()
        mounted.affsctl("publish")
        mounted.affsctl("verify")
        after = scrape(offered)
        rows = mounted.affsctl("metrics", "affs_commits_total")

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("affs_written_bytes_total") == 100_000
    assert grown("affs_fuse_seconds_count operation=fsync") == 1
    assert grown("affs_fuse_seconds_count operation=create") == 1
    commits = grown("affs_commits_total")  # of fsync and publish, and what verify notes
    assert commits >= 2
    assert grown("affs_commit_stage_seconds_count stage=write") == commits
    assert grown("affs_command_seconds_count command=publish") == 1
    assert grown("affs_objects") == 1
    assert after["affs_up"] == 1
    assert after["affs_kept_states"] == 1
    assert "affs_last_publish_age_seconds" not in before
    assert 0 <= after["affs_last_publish_age_seconds"] < 60
    assert "affs_oldest_verification_age_seconds" not in before
    assert after["affs_oldest_verification_age_seconds"] < 180
    assert before["affs_unverified_segments"] > after["affs_unverified_segments"] == 0
    assert after["affs_known_damage"] == 0
    assert rows[0]["value"] >= 2
    assert not offered.exists()


def test_the_age_of_a_publication_is_that_of_the_command(folder: Path) -> None:
    """Not that of the state, which may be much older; also after a new start."""
    with Mounted(folder, options="commit_interval=0") as mounted:
        old = mounted.affsctl("checkpoint", "-l", "old")
        mounted.affsctl("publish", "old")
        mounted.affsctl("metrics", "last_publish")
        mounted.affsctl("publish", "old")  # again: the same state, a later time
        *_, entry = [one for one in mounted.affsctl("log") if one["command"] == "publish"]
        again = mounted.affsctl("metrics", "last_publish")[0]["value"]
        now_ns = mounted.affsctl("ping")["time_ns"]
        assert again <= (now_ns - entry["time_ns"]) / 1e9
        mounted.remount()
        rows = mounted.affsctl("metrics", "last_publish")
        status = mounted.affsctl("status")
    assert status["published"]["id"] == old["id"]
    age_s = rows[0]["value"]
    asked_ns = status["started_ns"]
    assert entry["time_ns"] > old["time_ns"]
    assert age_s <= (asked_ns - entry["time_ns"]) / 1e9 + 60


def test_a_file_for_the_collector_tells_of_the_end(folder: Path) -> None:
    path = folder / "affs.prom"
    with Mounted(folder, options=f"metrics={path}"):
        assert samples(path.read_text())["affs_up"] == 1
    assert samples(path.read_text()) == {"affs_up": 0}


def test_slow_requests_of_the_kernel_are_found(folder: Path) -> None:
    with Mounted(folder, options="slow=0.000001") as mounted:
        (mounted.directory / "a").write_text("x")
        found = mounted.affsctl("slow")
    assert {"create", "write"} <= {one["name"] for one in found if one["what"] == "fuse"}
    assert all(one["seconds"] >= 0.000001 for one in found)
    assert "slow: fuse create took" in mounted.read_log()


def test_a_taken_port_is_told_before_the_mount(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mounted = Mounted(folder, options=f"metrics={taken.getsockname()[1]}")
        with pytest.raises(AssertionError, match="cannot offer metrics"):
            mounted.start()
        mounted.wait_for_failure()


def test_the_service_manager_follows_the_whole_life(folder: Path) -> None:
    with Mounted(folder) as mounted:
        mounted.terminate()
    text = b"\n".join(mounted.told).decode()
    assert text.startswith("READY=1\nSTATUS=mounted on ")
    assert "STOPPING=1\nSTATUS=unmounting\nEXTEND_TIMEOUT_USEC=30000000" in text


def test_one_trace_finds_answer_event_log_and_operation(folder: Path) -> None:
    with Mounted(folder) as mounted, mounted.client() as client:
        cursor = client.run("status")["runtime"]["events"]["cursor"]
        client.run("checkpoint -l one", trace="trace-ok")
        call = client.start(f"watch --after {cursor} --count 2")
        events = [part.event for part in call.parts() if isinstance(part, Event)]
        with pytest.raises(RemoteError) as caught:
            client.run("checkpoint -l one", trace="trace-bad")
        entries = client.run("log")
    assert [(one["kind"], one["trace"]) for one in events] == [
        ("commit", "trace-ok"), ("checkpoint", "trace-ok")
    ]
    assert [(one["trace"], one["ok"]) for one in entries] == [
        ("trace-ok", True), ("trace-bad", False)
    ]
    assert caught.value.trace == "trace-bad"


def test_a_trace_is_in_the_lines_of_the_log(folder: Path) -> None:
    with Mounted(folder, options="slow=0.000001") as mounted, mounted.client() as client:
        client.run("checkpoint -l one", trace="trace-1")
    lines = [line for line in mounted.read_log().splitlines() if "trace=trace-1" in line]
    assert any("slow: command checkpoint" in line for line in lines)


def test_a_cursor_goes_on_in_the_next_daemon(folder: Path) -> None:
    with Mounted(folder, options="commit_interval=0") as mounted:
        first = mounted.affsctl("status")["runtime"]["events"]["cursor"]
        mounted.affsctl("checkpoint", "-l", "one")
        mounted.remount()
        mounted.affsctl("publish")
        followed = mounted.affsctl("watch", "checkpoint", "publish", "--after", first, "-c", "2")
        kinds = [event["kind"] for event in followed["items"]]
        assert kinds == ["checkpoint", "publish"]
        mounted.affsctl("checkpoint", "-l", "two")
        mounted.kill()
        mounted.start()
        mounted.affsctl("publish")
        cursor = followed["items"][1]["cursor"]
        followed = mounted.affsctl("watch", "publish", "--after", cursor, "-c", "2")
        assert [event["kind"] for event in followed["items"]] == ["lost", "publish"]
