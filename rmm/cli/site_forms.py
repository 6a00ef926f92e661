"""What keeps a site collector running: a unit of systemd, a service of Windows, or a scheduled task.

The two for Windows were never seen there; what they are made of is documented (sc.exe, Task Scheduler schema 1.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from rmm.cli.installing import systemctl, task_xml

NAME = "rmm-site"
SYSTEMD, SERVICE, TASK = "systemd", "windows-service", "windows-task"
KINDS = (SYSTEMD, SERVICE, TASK)


def unit(exec_start: str, *, account: str = "") -> str:
    """A unit that is started at boot and again when it fails, for nothing while it is to stay stopped.

    TimeoutStopSec leaves visits the time to delete their shells on endpoints.
    """
    user = f"User={account}\n" if account else ""
    return (
        "[Unit]\nDescription=rmm: site collector\nAfter=network-online.target\nWants=network-online.target\n"
        "StartLimitIntervalSec=0\n\n"
        f"[Service]\nType=exec\n{user}ExecStart={exec_start}\nRestart=on-failure\nRestartSec=5\nSuccessExitStatus=143\n"
        "TimeoutStopSec=30\nNice=5\nNoNewPrivileges=yes\nLimitNOFILE=16384\n\n"
        "[Install]\nWantedBy=multi-user.target default.target\n"
    )


def service_commands(program: str, account: str) -> list[list[str]]:
    """The commands that make the service. `program`: the whole command line, quoted as Windows does it."""
    return [
        ["sc.exe", "create", NAME, "binPath=", program, "start=", "delayed-auto", "obj=", account],
        ["sc.exe", "description", NAME, "rmm: polls the endpoints of this site and forwards to the hub"],
        ["sc.exe", "failure", NAME, "reset=", "86400", "actions=", "restart/5000/restart/30000/restart/60000"],
    ]


def start_command(kind: str) -> list[str]:
    """The command that starts what was set up."""
    if kind == SYSTEMD:
        return systemctl("start", f"{NAME}.service")
    return ["sc.exe", "start", NAME] if kind == SERVICE else ["schtasks", "/Run", "/TN", NAME]


def task(account: str, command: Sequence[str]) -> str:
    """A task that starts with the machine and, every five minutes, where it does not run. `account`: empty: ours."""
    boot = "    <BootTrigger>\n      <Enabled>true</Enabled>\n      <Delay>PT30S</Delay>\n    </BootTrigger>\n"
    return task_xml(NAME, "site collector", 5, command, limit="PT0S", account=account, more=boot)


def words(folder: str, passphrase_file: str, *, service: bool = False) -> Sequence[str]:
    """The command that is kept running, without the interpreter."""
    extra = ["--passphrase-file", passphrase_file] if passphrase_file else []
    return ["-m", "rmm", "site", "run", "--config", folder, *extra, "--service" if service else "--kept"]
