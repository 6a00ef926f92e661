"""`rmm credentials`: the vault."""

from __future__ import annotations

import getpass
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rmm.cli.options import Config, Output, PassphraseFile, checked_output, folder_of, open_app, passphrase_from
from rmm.cli.printing import show
from rmm.errors import ConfigError, RmmError, VaultError

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Accounts and their secrets, in an encrypted vault file."
)


@app.command("set")
def set_credential(
    name: Annotated[str, typer.Argument(help="Name that sites and endpoints use.")],
    username: Annotated[str, typer.Option(help="DOMAIN\\account, account@REALM or a local account.")],
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    key_file: Annotated[
        str, typer.Option(help="SSH private key, or the key of --certificate; the secret is its passphrase or empty.")
    ] = "",
    keytab: Annotated[
        str, typer.Option(help="Kerberos keytab with a key of the account; no secret is asked for.")
    ] = "",
    ccache: Annotated[
        str, typer.Option(help="Kerberos ticket cache that others keep fresh: FILE:/path, KCM:name; no secret.")
    ] = "",
    certificate: Annotated[
        str, typer.Option(help="Client certificate (PEM) that endpoints map to the local account.")
    ] = "",
    agent: Annotated[
        bool, typer.Option("--agent", help="A key of the SSH agent; --key-file may name its public key.")
    ] = False,
) -> None:
    """Add or replace a credential. Its secret is asked for, or read from standard input; it is never an argument."""
    from rmm.model.endpoint import Credential, Secret
    from rmm.settings.keyfiles import check_key_file
    from rmm.settings.places import VAULT, is_configured
    from rmm.vault import Vault

    kind, key, certificate = _kind(key_file, keytab, ccache, certificate, agent=agent)
    folder = folder_of(config)
    if not is_configured(folder):
        raise ConfigError(f"{folder}: is not a configuration folder", hint=f"Run `rmm init --config {folder}` first.")
    check_key_file(Credential(name=name, username=username, secret=Secret(""), kind=kind, key_file=key))
    path = folder / VAULT
    vault = Vault.open_or_create(path, passphrase_from(folder, passphrase_file, new=not path.exists()))
    secret = "" if kind in ("keytab", "ccache", "agent") else _secret(username)
    if not secret and kind == "password":
        raise VaultError("an empty secret is not stored", hint="Type it at the prompt, or pipe it in as one line.")
    if kind == "certificate":
        _check_certificate(name, username, secret, certificate, key)
    vault.set(name, username, Secret(secret), kind=kind, key_file=key, cert_file=certificate)
    print(f"{name} is in {path}")


def _kind(key_file: str, keytab: str, ccache: str, certificate: str, *, agent: bool) -> tuple[str, str, str]:
    """(kind, key file, certificate file) of what was given; files as absolute paths, and there to be read."""
    options = {"--keytab": keytab, "--ccache": ccache, "--certificate": certificate, "--agent": agent}
    given = [word for word, value in options.items() if value]
    if len(given) > 1 or (key_file and (keytab or ccache)):
        raise ConfigError(f"{' and '.join([*given, *(['--key-file'] if key_file else [])])} do not go together")
    if ccache:
        return "ccache", ccache if ":" in ccache else f"FILE:{Path(ccache).resolve()}", ""
    key = str(Path(keytab or key_file).resolve()) if keytab or key_file else ""
    chain = str(Path(certificate).resolve()) if certificate else ""
    for path in filter(None, (key, chain)):
        if not Path(path).is_file():
            raise ConfigError(f"{path}: there is no such file")
    return (given[0].removeprefix("--") if given else "key" if key_file else "password"), key, chain


def _secret(username: str) -> str:
    return getpass.getpass(f"Secret of {username}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def _check_certificate(name: str, username: str, secret: str, certificate: str, key_file: str) -> None:
    """A pair that does not fit, or a wrong passphrase, is found now and not in the first poll."""
    from rmm.model.endpoint import Credential, Secret
    from rmm.transports.winrm.network import pinned

    credential = Credential(
        name=name,
        username=username,
        secret=Secret(secret),
        kind="certificate",
        key_file=key_file,
        cert_file=certificate,
    )
    pinned((), credential)


@app.command("list")
def list_credentials(config: Config = None, output: Output = "table") -> None:
    """Show names and accounts, and what lock-out protection holds; needs no passphrase, shows no secret."""
    from rmm.settings.places import VAULT
    from rmm.vault import Vault

    names = Vault.names(folder_of(config) / VAULT)
    rows = [{"name": name, "username": username, **_held(config, username)} for name, username in sorted(names.items())]
    columns = {"name": "NAME", "username": "ACCOUNT", "state": "STATE", "bad": "BAD", "held": "HELD", "until": "UNTIL"}
    show(rows, columns, checked_output(output), empty="no credentials yet")


def _held(config: Path | None, username: str) -> dict[str, Any]:
    """What is known of an account; of a local one what is worst on any machine."""
    from rmm.poller.held import states

    try:
        application = open_app(config)
    except ConfigError:
        return {}  # the names are worth showing without the settings
    found = states(application.data, username, application.clock.now(), application.settings.lockout)
    if not found:
        return {"state": "unproven", "bad": 0, "held": "", "until": "", "endpoints": []}
    worst = max(found, key=lambda one: (bool(one.held), one.bad))
    held = worst.held or (f"{len(worst.endpoints)} endpoints" if worst.endpoints else "")
    return {
        "state": worst.state, "bad": worst.bad, "held": held, "until": worst.until, "endpoints": list(worst.endpoints),
    }  # fmt: skip


@app.command()
def release(
    name: Annotated[str, typer.Argument(help="Name of the credential.")],
    unlocked: Annotated[
        bool, typer.Option("--unlocked", help="The directory has forgotten the bad logons: an administrator saw to it.")
    ] = False,
    config: Config = None,
) -> None:
    """End what lock-out protection holds of this account: one logon is tried, and if it is good, all are."""
    from rmm.poller import held
    from rmm.settings.places import VAULT
    from rmm.vault import Vault

    names = Vault.names(folder_of(config) / VAULT)
    if name not in names:
        known = ", ".join(sorted(names)) or "nothing"
        raise VaultError(f"the vault has no credential {name!r}; it has {known}", code="vault.unknown")
    application = open_app(config)
    limits = application.settings.lockout
    found = held.states(application.data, names[name], application.clock.now(), limits)
    bad = max((one.bad for one in found), default=0)
    if bad >= limits.budget and not unlocked:
        raise ConfigError(
            f"{names[name]} had {bad} bad logons lately: one more may lock it",
            hint="Wait, or unlock the account in the directory, and then say so with --unlocked.",
        )
    held.release(application.data, names[name], forget=unlocked)
    (folder_of(config) / VAULT).touch()  # a change for `held_back`: endpoints that wait for one are due again
    print(f"{names[name]} is released; the next poll tries it once")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the credential.")],
    config: Config = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Forget a credential."""
    from rmm.settings.places import VAULT
    from rmm.vault import Vault

    folder = folder_of(config)
    Vault.open(folder / VAULT, passphrase_from(folder, passphrase_file)).remove(name)
    print(f"{name} is gone from {folder / VAULT}")


@app.command()
def test(
    name: Annotated[str, typer.Argument(help="Name of the credential.")],
    endpoint: Annotated[str, typer.Option(help="Endpoint to log on to; without: the first that uses it.")] = "",
    config: Config = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Log on once, to one endpoint, and say what came of it."""
    from rmm.app import run
    from rmm.poller.doctor import logon

    application = open_app(config, passphrase_file)
    users = [e for e in application.settings.endpoints if application.targets.credential_of(e) == name and e.enabled]
    if not endpoint and not users:
        raise ConfigError(f"no endpoint uses {name}", hint="Name one with --endpoint.")
    wanted = application.targets.endpoint(endpoint) if endpoint else users[0]
    credential = application.credential(name)

    async def attempt() -> RmmError | None:
        async with application.kit(secrets.token_hex(8)) as kit:
            return await logon(kit, wanted, credential)

    error = run(attempt())
    if error is None:
        print(f"{credential.username} logged on to {wanted.name}")
        return
    raise error
