"""A real MIT KDC on loopback, as the current user: two realms that trust each other, one process, stopped by its id.

Programs of Debian's krb5-kdc and krb5-admin-server. Nothing of the system's own Kerberos configuration is read or
changed: everything lies in one folder, and `environment` points at it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REALM, OTHER = "RMM.TEST", "OTHER.TEST"
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

_KRB5_CONF = """[libdefaults]
  default_realm = {realm}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  kdc_timesync = {timesync}
  default_ccache_name = FILE:{folder}/default-ccache
  permitted_enctypes = aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96
[realms]
{realms}
[domain_realm]
  .lab.example = {realm}
"""
_KDC_CONF = """[kdcdefaults]
  kdc_tcp_listen = ""
[realms]
{realms}
[logging]
  kdc = FILE:{folder}/kdc.log
"""
_REALM_CONF = """  {name} = {{
    database_name = {folder}/{name}.db
    key_stash_file = {folder}/{name}.stash
    acl_file = {folder}/acl
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
    max_life = {life}
    max_renewable_life = 7d
    supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal arcfour-hmac:normal
    default_principal_flags = +preauth
  }}
"""


def missing() -> str:
    """What keeps a KDC from being started here; empty where nothing does."""
    if sys.platform == "win32":
        return "a MIT KDC does not run on Windows"
    programs = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if programs:
        return f"no {', '.join(programs)}: install krb5-kdc and krb5-admin-server"
    try:
        import gssapi  # noqa: F401
        import krb5  # noqa: F401
    except ImportError as error:
        return f"no Python package {error.name}: pip install 'mytech-rmm[kerberos]', which needs libkrb5-dev"
    return ""


def no_faketime() -> str:
    """What keeps a KDC with another clock from being started here; empty where nothing does."""
    return "" if _faketime() else "no libfaketime: install it"


def _faketime() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class Kdc:
    """Two realms with their accounts. `password` is that of every account that has one.

    Args:
        folder: for all that it keeps.
        life: the longest that a ticket lives.
        ahead: how far its clock is from ours, as libfaketime takes it: +1h.
    """

    password = "Correct-Horse-7"

    def __init__(self, folder: Path, *, life: str = "10h", ahead: str = "") -> None:
        self.folder = folder
        self._clock = {"LD_PRELOAD": str(_faketime()), "FAKETIME": ahead} if ahead else {}
        self.ports = {realm: _free_port() for realm in (REALM, OTHER)}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.krb5_conf(folder / "krb5.conf")
        realms = "".join(
            _REALM_CONF.format(name=realm, folder=folder, port=port, life=life) for realm, port in self.ports.items()
        )
        (folder / "kdc.conf").write_text(_KDC_CONF.format(realms=realms, folder=folder))
        (folder / "acl").write_text("")
        for realm in (REALM, OTHER):
            self._run("kdb5_util", "-r", realm, "create", "-s", "-P", "master")
        self.admin(
            REALM,
            *self._accounts(),
            f"addprinc -pw trust krbtgt/{OTHER}",
            f"addprinc -pw trust2 krbtgt/{REALM}@{OTHER}",
        )
        self.admin(
            OTHER,
            f"addprinc -pw {self.password} rmm",
            f"addprinc -pw trust krbtgt/{OTHER}@{REALM}",
            f"addprinc -pw trust2 krbtgt/{REALM}",
        )
        self.start()

    def _accounts(self) -> Iterator[str]:
        word = self.password
        for name in ("rmm", "locked", "disabled", "expired", "mustchange", "gone"):
            yield f"addprinc -pw {word} {name}"
        yield "modprinc -pwexpire 2020-01-01 expired"
        yield "modprinc +needchange mustchange"
        yield "modprinc -allow_tix disabled"
        yield "modprinc -expire 2020-01-01 gone"
        yield "addpol -maxfailure 2 -lockoutduration 1h -failurecountinterval 1h strict"
        yield "modprinc -policy strict locked"

    @property
    def environment(self) -> dict[str, str]:
        """For clients and servers."""
        return {"KRB5_CONFIG": str(self.folder / "krb5.conf"), "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf")}

    def krb5_conf(self, path: Path, *, timesync: int = 1, ports: dict[str, int] | None = None) -> Path:
        """Write a client configuration, perhaps one with other KDCs."""
        used = self.ports | (ports or {})
        realms = "\n".join(f"  {realm} = {{\n    kdc = 127.0.0.1:{port}\n  }}" for realm, port in used.items())
        path.write_text(_KRB5_CONF.format(realm=REALM, realms=realms, folder=self.folder, timesync=timesync))
        return path

    def _run(self, program: str, *arguments: str) -> str:
        command = shutil.which(program, path=_PATH)
        assert command is not None
        done = subprocess.run(
            [command, *arguments], env=os.environ | self.environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr}")
        return done.stdout + done.stderr

    def admin(self, realm: str, *queries: str) -> None:
        """kadmin.local, one process for all queries."""
        command = shutil.which("kadmin.local", path=_PATH)
        assert command is not None
        text = "\n".join(queries) + "\n"
        done = subprocess.run(
            [command, "-r", realm], env=os.environ | self.environment, input=text, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        problems = [line for line in done.stderr.splitlines() if "while" in line]
        if done.returncode or problems:
            raise RuntimeError(f"kadmin.local: {done.stderr}")

    def services(self, hosts: Sequence[str], *, service: str = "HTTP", realm: str = REALM, weak: bool = False) -> None:
        """Keys of service/host for each host; weak: services that know RC4 alone, as old appliances do."""
        self.admin(realm, *(f"addprinc -randkey {service}/{host}" for host in hosts))
        if weak:
            self.admin(realm, *(f"setstr {service}/{host} session_enctypes arcfour-hmac" for host in hosts))

    def keytab(self, path: Path, principals: Sequence[str], realm: str = REALM) -> Path:
        """Write the keys of principals; those of accounts stay as they are."""
        path.unlink(missing_ok=True)
        self.admin(realm, *(f"ktadd -norandkey -k {path} {principal}" for principal in principals))
        path.chmod(0o600)
        return path

    def log(self) -> str:
        """What the KDC wrote so far."""
        path = self.folder / "kdc.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = shutil.which("krb5kdc", path=_PATH)
        assert command is not None
        self._process = subprocess.Popen(
            [command, "-n", "-r", REALM, "-r", OTHER, "-P", str(self.folder / "kdc.pid")],
            env=os.environ | self.environment | self._clock, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 30
        for port in self.ports.values():
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"krb5kdc did not start: {self.log()}")
                time.sleep(0.02)

    def pause(self) -> None:
        """It answers nobody any more, and refuses nobody either."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it; its ports refuse from then on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
