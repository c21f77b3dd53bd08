"""The helpers as mount(8) and umount(8) call them, in a mount namespace of their own; and mounts of
an ordinary user through fusermount3."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mounted import ENVIRONMENT, ROOT

from affs_fuse.volume.mkfs import MkfsOptions, make_volume

NOBODY = 65534

# The installed helpers run Python isolated, as they should; what is tested here is not installed.
SCRIPT = f"""
set -e
mount -t overlay overlay -o lowerdir=/usr/sbin,upperdir=$1/up,workdir=$1/work /usr/sbin
mount -t tmpfs none /run
mkdir /run/mount
'{sys.executable}' -m affs_fuse.daemon.main --install-helpers --prefix /
sed -i 's/ -I -m/ -m/' /usr/sbin/*.affs
echo "$1/v $1/m fuse.affs rw,noauto,nofail,uhelper=fuse.affs 0 0" > $1/fstab

echo by mount
mount -t fuse.affs -o noatime,commit_interval=0 $1/v $1/m
grep -c " $1/m .*noatime.* fuse.affs $1/v" /proc/self/mountinfo
grep -c uhelper=fuse.affs /run/mount/utab
echo content > $1/m/file
umount $1/m
'{sys.executable}' -m affs_tools.fsck -n $1/v > /dev/null

echo by mount.affs
mount.affs $1/v $1/m
grep -c uhelper=fuse.affs /run/mount/utab
cat $1/m/file
umount $1/m

echo by fstab
mount -T $1/fstab $1/m
cat $1/m/file
umount $1/m

echo refusals
set +e
mount -t fuse.affs -o bogus $1/v $1/m 2>&1
echo $?
mount -t fuse.affs /etc/passwd $1/m 2> /dev/null
echo $?
mount -f -t fuse.affs $1/v $1/m
echo $?
"""

WANTED = """\
by mount
1
1
by mount.affs
1
content
by fstab
content
refusals
mount.affs: unknown option 'bogus'; see mount.affs --help
1
32
0
"""


def test_mount8_umount8_and_fstab(folder: Path) -> None:
    for name in ("up", "work", "m"):
        (folder / name).mkdir()
    make_volume(str(folder / "v"), MkfsOptions(size_bytes=64 << 20))
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh", str(folder)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100, cwd=ROOT,
    )
    said = done.stdout.partition("by mount\n")
    assert said[1] + said[2] == WANTED, done.stdout + done.stderr
    assert done.stderr == ""


USER_SCRIPT = f"""
set -e
cd /
export XDG_RUNTIME_DIR=$1/run
'{sys.executable}' -m affs_tools.mkfs -q --size 64M $1/v
'{sys.executable}' -m affs_fuse.daemon.main $1/v $1/m -o log=$1/log
echo content > $1/m/file
cat $1/m/file
stat -c %u $1/m/file
grep -c " $1/m .*user_id={NOBODY}" /proc/self/mountinfo
grep " $1/m " /proc/self/mountinfo | grep -c allow_other || true
'{sys.executable}' -m affs_ctl -V $1/m --json publish > /dev/null
rm $1/m/file
'{sys.executable}' -m affs_ctl -V $1/m --json rollback > /dev/null
cat $1/m/file
'{sys.executable}' -m affs_fuse.daemon.unmount $1/m
'{sys.executable}' -m affs_tools.fsck -n $1/v > /dev/null
"""


@pytest.mark.skipif(
    shutil.which("fusermount3") is None or shutil.which("setpriv") is None,
    reason="takes fusermount3 and setpriv",
)
def test_an_ordinary_user_mounts_by_fusermount3(folder: Path) -> None:
    os.chmod(folder, 0o711)
    place = folder / "user"
    place.mkdir()
    for name in ("m", "run"):
        (place / name).mkdir()
    for path in (place, place / "m", place / "run"):
        os.chown(path, NOBODY, NOBODY)
    done = subprocess.run(
        [
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            # Python itself may lie where only root can go.
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
            "sh", "-c", USER_SCRIPT, "sh", str(place),
        ],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100,
    )
    log = (place / "log").read_text() if (place / "log").exists() else ""
    assert done.stdout.split() == ["content", str(NOBODY), "1", "0", "content"], (
        done.stdout + done.stderr + log
    )
    assert done.returncode == 0
