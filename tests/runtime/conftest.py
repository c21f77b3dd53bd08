"""Tests of the runtime over a device that fails."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "volume"))
