"""What the host says about hooks: files that count, and files that do not."""

import os
from pathlib import Path

import pytest

from affs_fuse.daemon.host_config import HostConfig, config_files, read_host_config


def written(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


GOOD = '[hooks]\nprograms = ["/opt/hooks/"]\nurls = ["http://127.0.0.1:9000/"]\n'


def test_all_files_count_together(tmp_path: Path) -> None:
    written(tmp_path / "etc/affs.toml", GOOD)
    written(tmp_path / "etc/conf.d/b.toml", '[hooks]\nprograms = ["/b"]\n')
    written(tmp_path / "etc/conf.d/a.toml", '[hooks]\nprograms = ["/a"]\n')
    written(tmp_path / "home/affs.toml", '[hooks]\nprograms = ["/mine"]\n[other]\nx = 1\n')
    files = config_files(str(tmp_path / "home"), str(tmp_path / "etc"))
    found = read_host_config(files, os.getuid())
    assert found.programs == ("/opt/hooks/", "/a", "/b", "/mine")
    assert found.urls == ("http://127.0.0.1:9000/",)


def test_no_file_allows_nothing(tmp_path: Path) -> None:
    assert read_host_config(config_files("", str(tmp_path)), 0) == HostConfig()


@pytest.mark.parametrize(
    "text",
    [
        "hooks = 3", "[hooks]\nprogram = []", '[hooks]\nprograms = "/a"', "[hooks]\nprograms = [1]",
        '[hooks]\nprograms = ["relative"]', '[hooks]\nurls = ["ftp://x/"]', "not toml", "\xff",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_understood_allows_nothing(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "affs.toml"
    path.write_bytes(text.encode("latin-1"))
    assert read_host_config([path], os.getuid()) == HostConfig()
    assert "counts for nothing" in caplog.text


def test_a_file_that_others_can_write_allows_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_host_config([written(tmp_path / "a", GOOD, 0o664)], os.getuid()) == HostConfig()
    assert "others can write" in caplog.text


@pytest.mark.skipif(os.getuid() != 0, reason="changes owners")
def test_a_file_of_somebody_else_allows_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "a", GOOD)
    os.chown(path, 2000, 2000)
    assert read_host_config([path], 1000) == HostConfig()
    assert read_host_config([path], 2000) != HostConfig()
    assert "belongs neither" in caplog.text
