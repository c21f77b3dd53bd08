"""The command line of mount.affs, without mounting."""

import pytest

from affs_fuse.daemon.amiga import is_amiga_image, kernel_mount_command
from affs_fuse.daemon.config import HELP, CommandLine, Environment, MountConfig, parse_arguments
from affs_fuse.daemon.options import OPTIONS, split_options
from affs_fuse.errors import AffsError
from affs_fuse.fuse.mount_table import (
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MountEntry,
    parse_mountinfo,
)


def config_of(*words: str) -> MountConfig:
    config = parse_arguments(["/v", "/m", *words]).config
    assert config is not None
    return config


def error_of(*words: str) -> AffsError:
    with pytest.raises(AffsError) as caught:
        parse_arguments(["/v", "/m", *words])
    return caught.value


def test_defaults_are_safe() -> None:
    config = config_of()
    assert config.mount_flags & MS_NOSUID
    assert config.mount_flags & MS_NODEV
    assert not config.read_only
    assert config.allow_other is None
    assert config.control_mode == 0o600


def test_root_gets_suid_and_dev_by_saying_so() -> None:
    config = config_of("-o", "suid,dev")
    assert not config.mount_flags & (MS_NOSUID | MS_NODEV)


@pytest.mark.parametrize("words", [["-o", "allow_other"], ["--allow-other"], ["--allow_other"]])
def test_both_spellings_of_an_option(words: list[str]) -> None:
    assert config_of(*words).allow_other is True


@pytest.mark.parametrize(
    "words",
    [["-o", "commit_interval=2.5"], ["--commit-interval=2.5"], ["--commit-interval", "2.5"]],
)
def test_values_in_three_ways(words: list[str]) -> None:
    assert config_of(*words).commit_interval_s == 2.5


def test_everything_that_mount8_passes_is_known() -> None:
    words = (
        "rw,defaults,nosuid,nodev,noexec,relatime,user,users,owner,group,nofail,_netdev,auto,"
        "noauto,x-systemd.automount,x-gvfs-show,comment=x,uhelper=fuse.affs,default_permissions,"
        "allow_other,allow_root,auto_unmount,fsname=name,lazytime,sync,dirsync,nodiratime"
    )
    line = parse_arguments(["/v", "/m", "-o", words, "-n", "-v", "-t", "fuse.affs"])
    assert line.via_mount8
    assert line.config is not None
    assert line.config.fsname == "name"
    assert line.no_table
    assert line.verbose


def test_an_unknown_option_says_what_was_meant() -> None:
    error = error_of("-o", "comit_interval=3")
    assert error.code == "mount.option"
    assert "comit_interval" in error.message
    assert "commit_interval" in error.hint


def test_sloppy_ignores_unknown_options() -> None:
    assert config_of("-s", "-o", "frobnicate,umask=0").commit_interval_s == 5


@pytest.mark.parametrize(
    "words",
    [
        "cache=lots", "cache=", "cache", "commit_interval=-1", "commit_interval=nan", "spin=maybe",
        "control_mode=999", "recover=always", "ro=1", "remount", "uid=5", "view=old", "log=",
    ],
)
def test_bad_values_are_refused_with_a_hint(words: str) -> None:
    error = error_of("-o", words)
    assert error.code == "mount.option"
    assert error.hint


@pytest.mark.parametrize(
    "words", [["extra"], ["-o"], ["-x"], ["--options"], ["-N", "ns"], ["-t"]]
)
def test_bad_usage(words: list[str]) -> None:
    assert error_of(*words).code in ("mount.usage", "mount.option")


def test_view_published_takes_ro() -> None:
    assert error_of("-o", "view=published").code == "mount.option"
    assert config_of("-o", "ro,view=published").view == "published"


def test_r_and_w() -> None:
    assert config_of("-r").mount_flags & MS_RDONLY
    assert not config_of("-r", "-w").mount_flags & MS_RDONLY


def test_sizes() -> None:
    assert config_of("-o", "cache=64M").cache_bytes == 64 << 20
    assert config_of("-o", "cache_size=1GiB").cache_bytes == 1 << 30
    assert config_of("-o", "dirty=8388608").dirty_bytes == 8 << 20


def test_atime_rules() -> None:
    assert config_of().atime == "relatime"
    assert config_of("-o", "noatime").atime == "noatime"
    assert config_of("-o", "noatime,strictatime").atime == "strictatime"


def test_commas_in_values() -> None:
    assert split_options('a,control="/x,y",b\\,c,,d=1') == ["a", "control=/x,y", "b,c", "d=1"]


def test_help_names_every_option_of_ours() -> None:
    ours = [spec for spec in OPTIONS.values() if spec.help and spec.kind.value != "refused"]
    assert ours
    assert all(spec.name in HELP for spec in ours)


def test_other_actions() -> None:
    assert parse_arguments(["--help"]).action == "help"
    assert parse_arguments(["-V"]).action == "version"
    installing = parse_arguments(["--install-helpers", "--prefix", "/x"])
    assert installing == CommandLine(action="install_helpers", prefix="/x")


def test_mountinfo_is_unescaped() -> None:
    text = rb"36 35 0:98 / /mnt/a\040b\134c rw,noatime shared:1 - fuse.affs /v\012w rw,user_id=0"
    assert list(parse_mountinfo(text + b"\nbroken line\n")) == [
        MountEntry(36, (0, 98), b"/", b"/mnt/a b\\c", "fuse.affs", b"/v\nw", "rw,user_id=0")
    ]


def test_amiga_images_are_told_from_volumes(tmp_path: object) -> None:
    path = f"{tmp_path}/image"
    for kind in range(9):
        with open(path, "wb") as file:
            file.write(b"DOS" + bytes([kind]) + bytes(508))
        assert is_amiga_image(path) == (kind < 8)
    assert not is_amiga_image(f"{tmp_path}/missing")
    command = kernel_mount_command(path, "/m", ("ro", "uhelper=fuse.affs"), verbose=True)
    assert command == ["mount", "-i", "-t", "affs", "-v", "-o", "ro,loop", path, "/m"]


def test_where_the_control_socket_goes() -> None:
    root = Environment()
    assert root.control_path("u") == "/run/affs/u.sock"
    user = Environment(user_id=1000, runtime_directory="/run/user/1000")
    assert user.announcement_path("u") == "/run/user/1000/affs/u.json"
    assert Environment.capture({"WATCHDOG_USEC": "30000000"}).watchdog_us == 30_000_000
