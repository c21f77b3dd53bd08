"""What all tests share: those that mount share one xdist worker, and no mount outlives a session.

The rooms whose tests mount a volume or start a daemon stand in `MOUNTING_ROOMS`; elsewhere such a
test carries `@pytest.mark.mount`. `@pytest.mark.slow` leaves a test out of `tools/test --quick`.

Property tests take the same examples in every run, and as long as they need; `--hypothesis-profile
fresh` gives them others each time, for runs by hand.
"""

import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

MOUNTING_ROOMS = {"fuse", "daemon", "cli", "mount", "e2e", "conformance", "programs"}
TESTS = Path(__file__).resolve().parent

settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.register_profile("fresh", deadline=None, print_blob=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        room = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if room in MOUNTING_ROOMS or item.get_closest_marker("mount"):
            item.add_marker(pytest.mark.xdist_group("mount"))


@pytest.fixture
def public_tmp_path(tmp_path: Path) -> Path:
    """tmp_path, which other users may pass through and read."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith(("pytest-", "popen-")):  # pytest's own, with xdist one more
            parent.chmod(0o755)
    return tmp_path


def mounts_below(folder: Path) -> list[str]:
    """Mount points of AfFS volumes below folder, the latest mount first."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, directory, kind, *_ = line.split(" ")
        if kind in ("fuse.affs", "fuse") and Path(directory).is_relative_to(folder):
            found.append(directory.encode().decode("unicode_escape"))
    return found[::-1]


@pytest.fixture(scope="session", autouse=True)
def no_mount_left(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Fails the run, after cleaning up, when a test left a mount below its temporary folder."""
    yield
    left = mounts_below(tmp_path_factory.getbasetemp().resolve())
    for directory in left:
        subprocess.run(["umount", "-l", directory], check=False)
    assert not left, f"tests left these mounted: {left}"
