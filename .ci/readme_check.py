"""Run the commands of README.md: every fenced block marked `bash run` in a copy of the checkout, as a user would."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```bash run\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main() -> None:
    """One shell per block; the first failing command ends the check."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    if not blocks:
        sys.exit("readme-check: README.md has no block marked `bash run`")
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, PATH=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}", HOME=folder)
        for block in blocks:
            print(block.rstrip())
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, check=False, timeout=600
            )
            if done.returncode != 0:
                sys.exit(f"readme-check: ended with {done.returncode}")
    print(f"readme-check: {len(blocks)} blocks run")


if __name__ == "__main__":
    main()
