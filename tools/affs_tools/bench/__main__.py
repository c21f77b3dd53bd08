"""`tools/bench`: measure, print, and on request keep the table in docs/performance.md."""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from affs_tools.bench.clients import measure_clients
from affs_tools.bench.figures import Figure, markdown, plain_text
from affs_tools.bench.large import measure_large
from affs_tools.bench.records import measure_records
from affs_tools.bench.requests import measure_requests
from affs_tools.bench.start import measure_start
from affs_tools.bench.streams import measure_streams
from affs_tools.bench.sums import measure_sums
from affs_tools.bench.transfer import measure_transfer

PAGE = Path(__file__).resolve().parents[3] / "docs/performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how much. memory: a folder on tmpfs if there is one. disk: on a disk filesystem."""

    scratch: Path
    memory: Path
    disk: Path
    quick: bool


def requests(setting: Setting) -> list[Figure]:
    count, rounds = (1000, 2) if setting.quick else (5000, 3)
    return measure_requests(setting.scratch, setting.disk, count, rounds)


def streams(setting: Setting) -> list[Figure]:
    mebibytes, rounds = (256, 1) if setting.quick else (1024, 3)
    return measure_streams(setting.scratch, setting.disk, mebibytes, rounds)


def large(setting: Setting) -> list[Figure]:
    return measure_large(setting.scratch, setting.memory, 50_000 if setting.quick else 1_000_000)


def clients(setting: Setting) -> list[Figure]:
    count, seconds = (50, 3.0) if setting.quick else (200, 20.0)
    return measure_clients(setting.scratch, setting.disk, count, seconds)


def records(setting: Setting) -> list[Figure]:
    return measure_records(setting.scratch, setting.memory, 5000 if setting.quick else 100_000)


def transfer(setting: Setting) -> list[Figure]:
    return measure_transfer(setting.scratch, setting.memory, 5000 if setting.quick else 1_000_000)


def start(setting: Setting) -> list[Figure]:
    return measure_start(setting.scratch, setting.disk, 5 if setting.quick else 25)


def sums(_: Setting) -> list[Figure]:
    return measure_sums()


SECTIONS: dict[str, Callable[[Setting], list[Figure]]] = {
    "requests": requests, "streams": streams, "large": large, "clients": clients, "start": start,
    "records": records, "transfer": transfer, "sums": sums,
}


def machine(load: float) -> str:
    """One line about this machine. load: its load average when measuring began; above the number
    of idle cores, figures tell more of the neighbours than of AfFS."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Linux {platform.release()}, {platform.machine()},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} before"
    )


def update_page(page: Path, about: str, figures: list[Figure]) -> None:
    """Put the tables between the marks of the page, below a line about the machine."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{about}.\n\n{markdown(figures)}{END}{after}")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("section", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--disk", type=Path, default=Path.cwd(), help="a folder on a disk")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a folder on tmpfs")
    parser.add_argument(
        "--update", action="store_true", help="put the tables into docs/performance.md"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    for name in options.section:
        if name not in SECTIONS:
            parser.error(f"no section {name!r}; there are {', '.join(SECTIONS)}")
    if options.update and options.section:
        parser.error("--update takes all sections: the page would lose the others")
    about = machine(os.getloadavg()[0])
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(prefix="affs-bench.") as scratch,
        tempfile.TemporaryDirectory(prefix="affs-bench.", dir=options.memory) as memory,
        tempfile.TemporaryDirectory(prefix="affs-bench.", dir=options.disk) as disk,
    ):
        setting = Setting(Path(scratch), Path(memory), Path(disk), options.quick)
        for name in options.section or SECTIONS:
            print(f"measuring {name} ...", file=sys.stderr)
            figures += SECTIONS[name](setting)
    print(f"{about}\n\n{plain_text(figures)}")
    if options.update:
        update_page(PAGE, about, figures)
    missed = [figure for figure in figures if not figure.reached]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
