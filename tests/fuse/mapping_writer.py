"""A process that writes through shared mappings and by pwrite, stamping what it writes with a
phase.

    python mapping_writer.py DIRECTORY PHASE_FILE NUMBER PAUSE_S PAGES

PHASE_FILE is mapped by everybody: 8 bytes of phase, then 8 bytes for each writer, in which it says
which phase it has seen. What a writer stamps with phase p it wrote after phase p began.
"""

import mmap
import os
import random
import struct
import sys
import time
from pathlib import Path

FILES = 6
PAGES = 32
PAGE = 4096
STAMP = struct.Struct("<8sQ")
MAPPED_AT, WRITTEN_AT = 64, 2048


def main(directory: Path, phase_file: str, number: int, pause_s: float, pages: int) -> None:
    chance = random.Random(number)
    with open(phase_file, "r+b") as file:
        shared = mmap.mmap(file.fileno(), PAGE)
    files = [(directory / f"f{index}").open("r+b", buffering=0) for index in range(FILES)]
    maps = [mmap.mmap(file.fileno(), PAGES * PAGE) for file in files]
    while True:
        phase = struct.unpack_from("<Q", shared, 0)[0]
        struct.pack_into("<Q", shared, 8 * number, phase)
        for _ in range(8):
            index = chance.randrange(FILES)
            at = chance.randrange(pages) * PAGE
            stamp = STAMP.pack(b"STAMPED-", phase)
            if chance.random() < 0.75:
                maps[index][at + MAPPED_AT : at + MAPPED_AT + STAMP.size] = stamp
            else:
                os.pwrite(files[index].fileno(), stamp, at + WRITTEN_AT)
        time.sleep(pause_s)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    )
