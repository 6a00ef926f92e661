"""`python -m rmm.lab ENDPOINTS CONFIG [READY_FILE] [FAULTS] [ENGINE]`: a lab alone, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

from rmm.lab.engines import engine_of
from rmm.lab.server import LabOptions, run


def main(arguments: list[str]) -> None:
    """Run until it is stopped."""
    ready, faults, engine = (*arguments[2:], "", "", "")[:3]
    options = LabOptions(
        endpoints=int(arguments[0]), config=Path(arguments[1]), ready_file=Path(ready) if ready else None,
        faults=Path(faults) if faults else None,
    )  # fmt: skip
    run(options, engine_of(engine or "samples"), ready=lambda info: print(info.http_port, info.https_port, flush=True))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
