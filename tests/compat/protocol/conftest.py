"""The probe: `cargo build --release -p protocol --example protocol_probe`, or DASKJOB_PROTOCOL_PROBE."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from probe import Probe

REPOSITORY = Path(__file__).parents[3]


def probe_path() -> Path:
    given = os.environ.get("DASKJOB_PROTOCOL_PROBE")
    if given:
        return Path(given)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    return target / "release" / "examples" / "protocol_probe"


@pytest.fixture(scope="session")
def probe():
    path = probe_path()
    if not path.exists():
        pytest.skip(f"no protocol probe at {path}; build it or set DASKJOB_PROTOCOL_PROBE")
    probe = Probe(str(path))
    yield probe
    probe.close()
