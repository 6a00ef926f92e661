"""`python -m rmm.lab ENDPOINTS CONFIG [READY_FILE] [FAULTS]`: a lab without the rest of the command line, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

from rmm.catalog.load import load_catalog
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.server import LabOptions, run
from rmm.resources import shipped


def main(arguments: list[str]) -> None:
    """Run until it is stopped."""
    files = [Path(text) if text else None for text in [*arguments[2:], "", ""]]
    options = LabOptions(endpoints=int(arguments[0]), config=Path(arguments[1]), ready_file=files[0], faults=files[1])
    engine = SamplesEngine(load_catalog([shipped("collectors")]))
    run(options, engine, ready=lambda info: print(info.http_port, info.https_port, flush=True))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
