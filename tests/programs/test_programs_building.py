"""Editing and building: make -j2 of a C project, editors that save by renaming, Python's venv and
pip, and a shell's usual work.
"""

import os
import sys
import time
import zipfile
from pathlib import Path

from mounted import Mounted
from program import run

MODULES = 12


def make_project(folder: Path) -> None:
    folder.mkdir()
    calls = "".join(f"    total += f{count}();\n" for count in range(MODULES))
    declarations = "".join(f"int f{count}(void);\n" for count in range(MODULES))
    (folder / "all.h").write_text(declarations)
    (folder / "main.c").write_text(
        '#include <stdio.h>\n#include "all.h"\n'
        f'int main(void) {{\n    int total = 0;\n{calls}    printf("%d\\n", total);\n}}\n'
    )
    for count in range(MODULES):
        text = f'#include "all.h"\nint f{count}(void) {{ return {count}; }}\n'
        (folder / f"f{count}.c").write_text(text)
    (folder / "Makefile").write_text(
        "objects = $(patsubst %.c,%.o,$(wildcard *.c))\n"
        "program: libf.a main.o\n\tcc -o $@ main.o libf.a\n"
        "libf.a: $(filter-out main.o,$(objects))\n\tar crs $@ $^\n"
        "%.o: %.c all.h\n\tcc -O1 -g -c -o $@ $<\n"
        "clean:\n\trm -f *.o *.a program\n"
    )


def test_a_c_project(mounted: Mounted) -> None:
    project = mounted.directory / "project"
    make_project(project)
    run("make", "-j2", cwd=project)
    assert run(project / "program") == f"{sum(range(MODULES))}\n"
    assert "up to date" in run("make", cwd=project)
    time.sleep(0.02)
    (project / "f3.c").write_text('#include "all.h"\nint f3(void) { return 1000; }\n')
    said = run("make", cwd=project)
    assert said.count(" -c ") == 1
    assert run(project / "program") == f"{sum(range(MODULES)) - 3 + 1000}\n"
    mounted.remount()
    assert "up to date" in run("make", cwd=project)
    run("make", "clean", cwd=project)
    run("make", "-j2", cwd=project)
    run("strip", "program", cwd=project)
    assert run(project / "program") == f"{sum(range(MODULES)) - 3 + 1000}\n"


def test_editors_that_save_by_renaming(root: Path) -> None:
    path = root / "text"
    path.write_text("one\ntwo\nthree\n")
    path.chmod(0o640)
    os.chown(path, 61001, 62001)
    number = path.stat().st_ino
    run("sed", "-i.bak", "s/two/2/", "text", cwd=root)
    assert path.read_text() == "one\n2\nthree\n"
    assert path.stat().st_ino != number
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o640, 61001)
    assert (root / "text.bak").read_text() == "one\ntwo\nthree\n"
    run("perl", "-pi", "-e", "s/one/1/", "text", cwd=root)
    run("sh", "-c", "sort text > text.new && mv text.new text", cwd=root)
    assert path.read_text() == "1\n2\nthree\n"
    run("install", "-m", "0755", "text", "installed", cwd=root)
    run("ln", "-sfn", "installed", "current", cwd=root)
    run("ln", "-sfn", "text", "current", cwd=root)
    assert os.readlink(root / "current") == "text"
    run("truncate", "-s", "1M", "big", cwd=root)
    run("shred", "-u", "big", cwd=root)
    assert not (root / "big").exists()


def test_shell_tools(root: Path) -> None:
    script = r"""
        set -e
        mkdir -p a/b/c && cd a
        for i in $(seq 300); do echo $i > b/$i; done
        find . -type f -name '1*' -exec chmod 600 {} +
        test $(find . -perm 600 | wc -l) = 111
        test "$(du --apparent-size -b b/300 | cut -f1)" = 4
        grep -rl '^299$' . | grep -q b/299
        ls -laR . > listing && test -s listing
        cat b/* | sort -n | tail -1 | grep -q 300
        mkfifo p && (echo through > p &) && read line < p && test "$line" = through
        dd if=/dev/urandom of=d bs=64k count=20 conv=fsync status=none
        split -b 100000 d part. && cat part.* | cmp - d
        gzip -k d && zcat d.gz | cmp - d
        touch -d '2001-02-03 04:05:06.789' d && test $(stat -c %Y d) = 981173106
        mktemp -p . >/dev/null && tee -a e < d > /dev/null && cmp d e
        flock lock true
        cd .. && rm -rf a
    """
    run("bash", "-c", script, cwd=root, TZ="UTC")
    assert list(root.iterdir()) == []


def test_venv_and_pip(mounted: Mounted) -> None:
    root = mounted.directory
    wheel = root / "sample-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sample/__init__.py", "ANSWER = 42\n")
        archive.writestr(
            "sample-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n"
        )
        archive.writestr(
            "sample-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("sample-1.0.dist-info/RECORD", "")
    run(sys.executable, "-m", "venv", root / "env", PYTHONPATH="")
    python = root / "env" / "bin" / "python"
    quiet = {"PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"}
    run(python, "-m", "pip", "install", "-q", wheel, **quiet)
    mounted.remount()
    assert run(python, "-c", "import sample; print(sample.ANSWER)", **quiet) == "42\n"
    run(python, "-m", "pip", "check", **quiet)
    run(python, "-m", "pip", "uninstall", "-qy", "sample", **quiet)
    assert "sample" not in run(python, "-m", "pip", "list", **quiet)
