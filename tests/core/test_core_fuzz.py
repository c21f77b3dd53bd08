"""The C core's readers under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer: a short
run, the same each time. `native/fuzz/run` and `tools/crashsim --fuzz` do more."""

import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
TARGETS = ("bitmap", "commit", "item", "node", "sums", "superblock")
RUNS = 2000


def test_every_target_is_known() -> None:
    found = {path.stem.removeprefix("fuzz_") for path in (NATIVE / "fuzz").glob("fuzz_*.c")}
    assert found == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_reached_something_are_kept(target: str) -> None:
    lines = (NATIVE / "fuzz" / "corpus" / f"{target}.hex").read_text().splitlines()
    kept = [bytes.fromhex(line) for line in lines]
    assert len(set(kept)) == len(kept) > 10


@pytest.mark.slow
def test_fuzzing_finds_nothing() -> None:
    command = [str(NATIVE / "fuzz" / "run"), "300", "--runs", str(RUNS), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line.split()[1].rstrip(":") for line in done.stdout.splitlines()] == list(TARGETS)
