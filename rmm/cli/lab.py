"""`rmm lab`: a simulated fleet on loopback, and a demonstration with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rmm.errors import ConfigError, RmmError

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="A simulated fleet that speaks the real protocols, on loopback."
)

START_S = 60.0


@app.command()
def up(
    endpoints: Annotated[
        int | None,
        typer.Option("--endpoints", "-n", min=1, max=100_000, help="How many machines; 50, or 8 with pwsh."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="samples: knows the product's own scripts. pwsh: PowerShell 7 executes what comes.")
    ] = "samples",
    shells: Annotated[int, typer.Option(min=1, max=500, help="With pwsh: shells at most, each a process.")] = 16,
    spare: Annotated[int, typer.Option(min=0, max=100, help="With pwsh: processes started ahead.")] = 2,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Folder for the configuration that polls them.")
    ] = Path("lab"),
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: a free one.")] = 0,
    https_port: Annotated[int, typer.Option(min=0, max=65_535, help="0: a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="Other seeds give other fleets.")] = 1,
    profile: Annotated[
        list[str] | None, typer.Option(help="Kind of machine, such as server2022-dc-de; may be repeated.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="Fault plan (YAML); see config/lab/mixed.yaml.")] = None,
    collectors: Annotated[
        list[Path] | None, typer.Option(help="Folder of collectors that the machines answer too; may be repeated.")
    ] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Written when the lab can be polled.")] = None,
    scheme: Annotated[str, typer.Option(help="http or https: what the written configuration uses.")] = "http",
    recording: Annotated[
        Path | None, typer.Option(help="One machine that answers from a recording of `rmm doctor --record`.")
    ] = None,
    keytab: Annotated[Path | None, typer.Option(help="Keys of HTTP/NAME@REALM: the machines accept Kerberos.")] = None,
    credssp: Annotated[bool, typer.Option("--credssp", help="The machines accept CredSSP.")] = False,
    client_certificate: Annotated[
        str, typer.Option(help="Common name: issue a client certificate for the lab's account, over https.")
    ] = "",
) -> None:
    """Start a lab; it runs until Ctrl-C."""
    from rmm.lab.engines import ENGINES, engine_of, usual_count
    from rmm.lab.server import LabInfo, LabOptions, run

    if scheme not in ("http", "https"):
        raise ConfigError(f"--scheme {scheme}: http or https")
    if engine not in ENGINES:
        raise ConfigError(f"--engine {engine}: {' or '.join(ENGINES)}")
    runs = engine_of(engine, shells=shells, spare=spare, collectors=collectors or ())

    def ready(info: LabInfo) -> None:
        print(
            f"{info.endpoints} endpoints on 127.1.0.1 and up, http port {info.http_port}, https port {info.https_port}"
        )
        if engine == "pwsh":
            print(f"engine pwsh: each shell is a process of about 0.5 s of processor time and 120 MB, {shells} at most")
        print(f"poll them:  rmm poll --config {config}")
        print(f"reach them: {config / 'lab.json'}", flush=True)

    options = LabOptions(
        endpoints=endpoints or usual_count(engine), config=config, http_port=http_port, https_port=https_port,
        seed=seed, faults=faults, ready_file=ready_file, scheme=scheme, recording=recording, keytab=keytab,
        credssp=credssp, client_certificate=client_certificate, profiles=tuple(profile or ()),
        concurrency=shells if engine == "pwsh" else 0, collectors=tuple(collectors or ()),
    )  # fmt: skip
    run(options, runs, ready=ready)


@app.command()
def profiles() -> None:
    """List kinds of machines for `rmm lab up --profile`, and the words of which their names are made."""
    from rmm.lab.kinds import CONDITIONS, FORMS
    from rmm.lab.profile import load_catalogue

    catalogue = load_catalogue()
    print(f"systems:    {' '.join(catalogue.systems)}")
    print(f"of servers: core {' '.join(catalogue.roles)}")
    print(f"of clients: {' '.join(FORMS)}")
    print(f"languages:  {' '.join(catalogue.languages)}")
    print(f"conditions: {' '.join(CONDITIONS)}")
    print("A name is a system and any of these words; what it does not say is left to chance. For example:")
    for name in catalogue.profiles:
        print(f"  {name}")


@app.command()
def demo(
    endpoints: Annotated[int, typer.Option("--endpoints", "-n", min=1, max=10_000, help="How many machines.")] = 200,
    config: Annotated[Path, typer.Option("--config", "-c", help="Folder for configuration and data.")] = Path("demo"),
    pause: Annotated[float, typer.Option(min=0, help="Seconds between the two rounds.")] = 3.0,
) -> None:
    """Start a lab, poll it twice, show what came of it, and stop the lab."""
    config.mkdir(parents=True, exist_ok=True)
    ready = config / "ready"
    ready.unlink(missing_ok=True)
    lab = _start(["lab", "up", "--endpoints", str(endpoints), "--config", str(config), "--ready-file", str(ready)])
    try:
        _wait(lab, ready)
        report = config / "executive.html"
        _show(["poll", "--config", str(config)])
        time.sleep(pause)
        _show(["poll", "--config", str(config)])
        _show(["status", "--config", str(config), "--most", "12"])
        _show(["alerts", "list", "--config", str(config), "--most", "12"])
        _show(["report", "executive", "--config", str(config), "--out", str(report)])
        print(f"\nThe report lies at {report.resolve()}; the configuration and its data in {config.resolve()}.")
        print("Look further, with the same --config: rmm status, rmm show ENDPOINT, rmm history ENDPOINT cpu.util_pct")
    finally:
        lab.terminate()
        try:
            lab.wait(5)
        except subprocess.TimeoutExpired:
            lab.kill()
            lab.wait()


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "rmm", *arguments]


def _start(arguments: list[str]) -> subprocess.Popen[Any]:
    # A group of its own: Ctrl-C is for the demonstration, which then ends the lab itself.
    if sys.platform == "win32":
        lab = subprocess.Popen(_command(arguments), creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
    else:
        lab = subprocess.Popen(_command(arguments), start_new_session=True)
    return lab


def _wait(lab: subprocess.Popen[Any], ready: Path) -> None:
    until = time.monotonic() + START_S
    while not ready.exists():
        if lab.poll() is not None:
            raise RmmError(
                "the lab did not start; its message is above", code="lab", hint="Correct that, and try again."
            )
        if time.monotonic() > until:
            raise RmmError(
                f"the lab was not ready within {START_S:.0f} s", code="lab", hint="Is the machine overloaded?"
            )
        time.sleep(0.05)


def _show(arguments: list[str]) -> None:
    print(f"\n$ rmm {' '.join(arguments)}", flush=True)
    done = subprocess.run(_command(arguments), check=False)
    if done.returncode not in (0, 3):
        raise RmmError(
            f"rmm {arguments[0]} ended with exit code {done.returncode}", code="demo", hint="Its message is above."
        )
