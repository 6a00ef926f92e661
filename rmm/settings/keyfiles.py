"""Whether the file of a Kerberos credential is what it is said to be, by its first bytes; the rest a KDC judges."""

from __future__ import annotations

from pathlib import Path

from rmm.errors import ConfigError
from rmm.model.endpoint import Credential

# MIT Kerberos writes a 5 and then the version of the format: keytab_file_format.txt, ccache_file_format.txt.
_FORMATS = {"keytab": (b"\x05\x01", b"\x05\x02"), "ccache": (b"\x05\x01", b"\x05\x02", b"\x05\x03", b"\x05\x04")}
_FIXES = {
    "keytab": "Name one that ktutil, ktpass or kadmin has written: `klist -k FILE` must list the account.",
    "ccache": "Name one that kinit has written: `klist -c FILE` must list the account.",
}


def check_key_file(credential: Credential) -> None:
    """Raise ConfigError for a keytab or ticket cache that is none.

    A cache that is not there, or of another type than FILE, is somebody else's to fill in time: the logon shows that.
    """
    kind = credential.kind
    if kind not in _FORMATS or (kind == "ccache" and not credential.key_file.startswith("FILE:")):
        return
    path = Path(credential.key_file.removeprefix("FILE:"))
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except FileNotFoundError as error:
        if kind == "ccache":
            return
        raise _refused(credential, path, "there is no such file") from error
    except OSError as error:
        raise _refused(credential, path, f"cannot be read: {error.strerror}") from error
    if head not in _FORMATS[kind]:
        raise _refused(credential, path, f"is no {'keytab' if kind == 'keytab' else 'ticket cache'}")


def _refused(credential: Credential, path: Path, why: str) -> ConfigError:
    return ConfigError(f"credential {credential.name}: {credential.kind} {path}: {why}", hint=_FIXES[credential.kind])
