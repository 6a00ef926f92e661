"""What Kerberos' errors mean: by number (RFC 4120 7.5.9, and libkrb5's own), never by text. A table, no I/O."""

from __future__ import annotations

from typing import NamedTuple

from rmm.errors import AuthError

KDC = -1765328384  # KRB-ERROR n of RFC 4120 is libkrb5's KDC + n; from 128 on follow the library's own errors


class TicketError(AuthError):
    """Kerberos gave no ticket, or the endpoint refused it.

    `refused`: the account itself was refused, and the same secret must not be tried again. `spent`: bytes derived
    from the secret may have left without being accepted, so that another try may count as one more bad logon.
    """

    refused = False
    spent = False

    def again(self) -> TicketError:
        """A copy for one more of those who wait for the same ticket."""
        copy = TicketError(str(self), code=self.code, retry=self.retry, hint=self.hint, status=self.status)
        copy.refused, copy.spent = self.refused, self.spent
        return copy


class _Meaning(NamedTuple):
    code: str
    status: str
    retry: str
    text: str
    hint: str
    refused: bool = False


_LOCKED = "Unlock or enable it; a site collector that holds an old password is a usual cause. It is tried again later."
_EXPIRED = "Set a new password in the directory (not 'must change at next logon'), then `rmm credentials set` it."
_SPN = (
    "The directory knows no such service: use the FQDN of the endpoint (IPAddress or ComputerName in the endpoint "
    "list), see which names it has (setspn -L COMPUTER), or set `spn: WSMAN` or `spn: host` for the site."
)
_PRINCIPAL = (
    "Another account owns this name (setspn -Q HTTP/HOST), or another machine answers at this address; "
    "where a service account owns HTTP, set `spn: WSMAN` or `spn: host` for the site."
)
_ETYPE = "Give the accounts AES keys (set their passwords anew), or allow the type in krb5.conf; new ones refuse RC4."
_CLOCK = "Compare the clocks of this site collector, the endpoint and the domain controller; five minutes are allowed."
_REACH = (
    "Is a domain controller reachable on port 88? Does krb5.conf, or DNS, name one for this realm (KRB5_CONFIG)? With "
    "dns_canonicalize_hostname or rdns in krb5.conf, a dead name server looks the same."
)
_REALM = "Write the account as user@REALM, with the realm's DNS name, and name its domain controllers in krb5.conf."
_TICKET = "Get one with kinit, or keep it fresh with k5start; `rmm credentials set NAME --keytab FILE` needs neither."
_KEYTAB = "Name a readable keytab with a key of exactly this account: klist -k FILE; names are case-sensitive."
_POLICY = "Logon hours, logon computers or an authentication policy of the account forbid it."

_UNREACHABLE = _Meaning("kdc.unreachable", "COLLECTOR_FAULT", "RB", "no Kerberos server answers", _REACH)
_MODIFIED = _Meaning("auth.wrong_principal", "CONFIG", "RH", "the ticket is for another account's key", _PRINCIPAL)
_NO_SERVICE = _Meaning("kdc.unknown_service", "CONFIG", "R0", "the Kerberos server does not know this service", _SPN)
_NO_ETYPE = _Meaning("kdc.etype", "CONFIG", "RH", "no common encryption type", _ETYPE)
_SKEW = _Meaning("kdc.skew", "CONFIG", "RB", "the clocks differ by more than Kerberos allows", _CLOCK)
_NO_TICKET = _Meaning("auth.ticket", "CONFIG", "RH", "there is no valid ticket in the cache", _TICKET)
_NO_KEY = _Meaning("auth.keytab", "CONFIG", "RH", "the keytab cannot be used", _KEYTAB)
_NO_REALM = _Meaning("auth.realm", "CONFIG", "RH", "no Kerberos server is known for the account's realm", _REALM)

_MEANINGS: dict[int, _Meaning] = {
    1: _Meaning("auth.expired", "AUTH_REJECTED", "RH", "the account has expired", _EXPIRED, refused=True),
    6: _Meaning("kdc.unknown_account", "CONFIG", "RH", "the Kerberos server does not know this account", _REALM),
    7: _NO_SERVICE,
    12: _Meaning("auth.policy", "AUTH_REJECTED", "RH", "a policy forbids this logon", _POLICY, refused=True),
    14: _NO_ETYPE,
    18: _Meaning("auth.locked", "AUTH_HELD", "RH", "the account is locked or disabled", _LOCKED, refused=True),
    23: _Meaning("auth.expired", "AUTH_REJECTED", "RH", "the password has expired", _EXPIRED, refused=True),
    24: _Meaning(AuthError.code, AuthError.status, "RH", "the password is wrong", AuthError.hint, refused=True),
    31: _Meaning(AuthError.code, AuthError.status, "RH", "the password is wrong", AuthError.hint, refused=True),
    32: _Meaning("auth.ticket", "CONFIG", "R1", "the ticket has expired", _TICKET),
    37: _SKEW,
    33: _SKEW,  # KRB_AP_ERR_TKT_NYV: the ticket is of the future
    35: _MODIFIED,  # KRB_AP_ERR_NOT_US, as MIT's acceptors say it
    41: _MODIFIED,
    44: _MODIFIED,
    45: _MODIFIED,
    68: _NO_REALM,
    141: _NO_TICKET,  # KRB5_CC_NOTFOUND
    144: _MODIFIED,  # KRB5KRB_AP_WRONG_PRINC: the acceptor has no such key
    148: _SKEW,  # KRB5_KDCREP_SKEW
    150: _NO_ETYPE,
    154: _NO_REALM,  # KRB5_REALM_UNKNOWN
    156: _UNREACHABLE,  # KRB5_KDC_UNREACH
    179: _NO_KEY,  # KRB5_KT_BADNAME
    181: _NO_KEY,  # KRB5_KT_NOTFOUND
    184: _NO_KEY,  # KRB5_KT_IOERR
    194: _NO_TICKET,  # KRB5_FCC_PERM
    195: _NO_TICKET,  # KRB5_FCC_NOFILE
    217: _NO_REALM,  # KRB5_ERR_HOST_REALM_UNKNOWN
    220: _UNREACHABLE,  # KRB5_REALM_CANT_RESOLVE
    224: _NO_REALM,  # KRB5_CONFIG_NODEFREALM
    235: _NO_KEY,  # KRB5_KT_FORMAT
    236: _NO_ETYPE,
    237: _NO_ETYPE,
}
# Windows' SSPI has one number for several of them. None of these was seen by this project's tests.
_SSPI: dict[int, _Meaning] = {
    0x8009030C: _MEANINGS[24],  # SEC_E_LOGON_DENIED
    0x80090303: _NO_SERVICE,  # SEC_E_TARGET_UNKNOWN
    0x80090311: _UNREACHABLE,  # SEC_E_NO_AUTHENTICATING_AUTHORITY
    0x80090322: _MODIFIED,  # SEC_E_WRONG_PRINCIPAL
    0x80090324: _SKEW,  # SEC_E_TIME_SKEW
    0x80090331: _NO_ETYPE,  # SEC_E_ALGORITHM_MISMATCH
    0x80090342: _NO_ETYPE,  # SEC_E_KDC_UNKNOWN_ETYPE
}
# NTSTATUS in CredSSP's TSRequest ([MS-CSSP] 2.2.1).
_NTSTATUS: dict[int, _Meaning] = {
    0xC000006A: _MEANINGS[24],
    0xC000006D: _MEANINGS[24],
    0xC000006F: _MEANINGS[12],  # hours
    0xC0000070: _MEANINGS[12],  # workstation
    0xC0000071: _MEANINGS[23],
    0xC0000072: _MEANINGS[18],  # disabled
    0xC0000133: _SKEW,
    0xC000015B: _MEANINGS[12],  # logon type
    0xC0000193: _MEANINGS[1],
    0xC0000224: _MEANINGS[23],  # must change
    0xC0000234: _MEANINGS[18],
}
# With a ticket that the KDC gave, these say that NTLM would not be one more bad logon, nor hide a fault of the site.
FALL_BACK = frozenset({
    "auth.missing", "auth.realm", "kdc.unreachable", "kdc.unknown_account", "kdc.unknown_service",
})  # fmt: skip


def ticket_error(number: int, about: str) -> TicketError:
    """The error of a number that libkrb5, GSSAPI (its minor status, signed or not) or SSPI gave.

    Args:
        number: such as -1765328360, which is KRB-ERROR 24.
        about: whose ticket, or for what; for people.
    """
    unsigned = number & 0xFFFFFFFF
    meaning = _MEANINGS.get(unsigned - (KDC & 0xFFFFFFFF)) or _SSPI.get(unsigned)
    if meaning is None:
        hint = "Look the number up in libkrb5's documentation; KRB5_TRACE=/dev/stderr shows what Kerberos does."
        return TicketError(f"{about}: Kerberos error {number}", code="auth.kerberos", status="CONFIG", hint=hint)
    error = TicketError(
        f"{about}: {meaning.text}", code=meaning.code, status=meaning.status, retry=meaning.retry, hint=meaning.hint
    )
    error.refused = meaning.refused
    return error


def status_error(number: int, about: str) -> TicketError:
    """The error of an NTSTATUS that came with CredSSP."""
    meaning = _NTSTATUS.get(number & 0xFFFFFFFF)
    if meaning is None:
        hint = "Look the number up among Windows' NTSTATUS values."
        return TicketError(f"{about}: NTSTATUS {number & 0xFFFFFFFF:#x}", hint=hint)
    error = TicketError(
        f"{about}: {meaning.text}", code=meaning.code, status=meaning.status, retry=meaning.retry, hint=meaning.hint
    )
    error.refused = meaning.refused
    return error


def may_fall_back(error: TicketError) -> bool:
    """Whether another scheme may be tried after this: nothing of the secret is on its way to a refusal."""
    return error.code in FALL_BACK and not error.spent and not error.refused
