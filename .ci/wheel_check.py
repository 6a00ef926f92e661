"""Build the wheel, install it in a clean environment, and run what a user would run first."""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str, cwd: str) -> str:
    """Run and return standard output; ends the check when the command fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RMM_CONFIG")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        sys.exit(f"wheel-check: {' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Check the artifact, not the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT), cwd=folder)
        wheel = next(Path(folder).glob("mytech_rmm-*.whl"))
        names = zipfile.ZipFile(wheel).namelist()
        shipped = {name.split("/")[2] for name in names if name.startswith("rmm/_collectors/") and name.count("/") > 2}
        expected = {path.parent.name for path in ROOT.glob("collectors/*/collector.yaml")}
        if shipped != expected:
            sys.exit(f"wheel-check: the wheel ships {sorted(shipped)}, the checkout has {sorted(expected)}")
        if any(name.startswith(("tests/", "bench/", "data/")) for name in names):
            sys.exit("wheel-check: the wheel ships files that do not belong to the product")
        venv.create(f"{folder}/env", with_pip=True)
        scripts = Path(folder) / "env" / ("Scripts" if os.name == "nt" else "bin")
        run(
            str(scripts / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel), cwd=folder
        )
        rmm = str(scripts / "rmm")
        listed = run(rmm, "collector", "list", "--output", "csv", cwd=folder)
        missing = [name for name in expected if name not in listed]
        if missing:
            sys.exit(f"wheel-check: the installed command does not list {missing}")
        run(rmm, "--help", cwd=folder)
        run(rmm, "init", "--config", f"{folder}/conf", "--no-input", cwd=folder)
        run(rmm, "lab", "demo", "--endpoints", "10", "--config", f"{folder}/demo", cwd=folder)
        print(f"wheel-check: {wheel.name}: {len(names)} files, {len(expected)} collectors, runs")


if __name__ == "__main__":
    main()
