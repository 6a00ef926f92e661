"""The rung quota: winrm/config as the endpoint has it, read and never changed. Defaults differ between releases."""

from __future__ import annotations

from typing import Any

from rmm.ports import Look

# (path in winrm/config, below which a poll gets into trouble); 0: only shown
READ = {
    "MaxEnvelopeSizekb": 150,
    "MaxTimeoutms": 20_000,
    "Winrs/MaxShellsPerUser": 3,
    "Winrs/MaxMemoryPerShellMB": 150,
    "Winrs/MaxProcessesPerShell": 5,
    "Winrs/MaxConcurrentUsers": 2,
    "Winrs/IdleTimeout": 0,
    "Service/MaxConcurrentOperationsPerUser": 15,
    "Service/MaxConnections": 5,
}
UNSAFE = {"Service/AllowUnencrypted": "true", "Service/Auth/Basic": "true", "Service/Auth/CredSSP": "true"}
TOLD = (
    "Service/Auth/Kerberos",
    "Service/Auth/Negotiate",
    "Service/Auth/CbtHardeningLevel",
    "Winrs/AllowRemoteShellAccess",
)
UNLIMITED = 2_147_483_647


def facts_of(config: Any) -> dict[str, Any]:
    """Path -> number or text of what this product cares for; `config` is the cfg:Config element."""
    facts: dict[str, Any] = {}
    if config is None:
        return facts
    space = config.tag.partition("}")[0] + "}"
    for path in (*READ, *UNSAFE, *TOLD):
        text = config.findtext("/".join(f"{space}{part}" for part in path.split("/")))
        if text is not None:
            text = text.strip()[:100]
            facts[path] = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
    return facts


def judged(facts: dict[str, Any], shells: int | None) -> Look:
    """What it means for a poll."""
    shown = [f"{path.rpartition('/')[2]} {_limit(facts[path])}" for path in READ if path in facts]
    if "Service/Auth/CbtHardeningLevel" in facts:
        shown.append(f"CbtHardeningLevel {facts['Service/Auth/CbtHardeningLevel']}")
    detail = ", ".join(shown) or "an empty winrm/config"
    if shells is not None:
        facts = facts | {"own_shells": shells}
        detail += f"; {shells} other shells of this account are open"
    tight = [
        f"{path.rpartition('/')[2]} is {facts[path]}" for path, least in READ.items() if _below(facts, path, least)
    ]
    most = facts.get("Winrs/MaxShellsPerUser", UNLIMITED)
    if shells and isinstance(most, int) and shells + 2 > most:
        tight.append(f"{shells} of {most} shells are used up")
    if tight:
        fix = f"{'; '.join(tight)}: too little for polls and others beside them. rmm never raises a quota."
        return Look(detail, "warning", fix, "quota.tight", facts)
    unsafe = [path.rpartition("/")[2] for path, value in UNSAFE.items() if facts.get(path) == value]
    if unsafe:
        fix = f"Turned on there, and not needed by rmm: {', '.join(unsafe)} (winrm get winrm/config/service)."
        return Look(detail, "warning", fix, "quota.unsafe", facts)
    return Look(detail, facts=facts)


def _below(facts: dict[str, Any], path: str, least: int) -> bool:
    value = facts.get(path)
    return isinstance(value, int) and value < least


def _limit(value: Any) -> str:
    return "unlimited" if isinstance(value, int) and value >= UNLIMITED else str(value)
