"""Security posture: protection, hardening and exposure of the last readings."""

from __future__ import annotations

from collections.abc import Mapping

from rmm.model.report import Asked, Document, Figure, Figures
from rmm.reports.making import EVERYONE, NAME, SITE, Asker, column, document, grouped, listed
from rmm.reports.sources import Sources

PROTECTION = {
    "real_time": (
        "Defender runs without real-time protection",
        'defender.real_time == false and defender.running_mode == "Normal"',
    ),
    "signatures": ("virus definitions older than 7 days", "defender.signature_age_d > 7"),
    "threats": ("active threats", "defender.active_threats > 0"),
    "firewall": ("a firewall profile is off", "any(firewall.enabled == false)"),
    "bitlocker": (
        "the system volume is not protected",
        'any(bitlocker.type == "system" and bitlocker.protection != "on")',
    ),
    "secure_boot": ("Secure Boot is off", "platform_security.secure_boot == false"),
    "tpm": ("no TPM", "platform_security.tpm == false"),
}  # fmt: skip
EXPOSURE = {
    "smb1": ("serves SMB 1", "hardening.smb1"),
    "nla": ("Remote Desktop without NLA", "hardening.rdp and hardening.rdp_nla == false"),
    "uac": ("User Account Control is off", "hardening.uac == false"),
    "wdigest": ("WDigest keeps passwords", "hardening.wdigest"),
    "ntlm": ("sends LM or NTLMv1", "hardening.ntlm_level < 3"),
    "laps": ("no LAPS for the local administrator", "hardening.laps == false"),
    "autologon": ("a readable password for automatic logon", "hardening.autologon_password"),
    "admins": ("more than 3 local administrators", "count(local_admins.id is not null) > 3"),
    "certificates": (
        "a certificate in use ends within 30 days",
        "any(certificates.bound and certificates.days_left < 30)",
    ),
}  # fmt: skip
COLUMNS = (
    NAME,
    SITE,
    column("os.caption", "Operating system", paper=False),
    column("defender.running_mode", "Defender"),
    column("defender.real_time", "Real time"),
    column("defender.signature_age_d", "Definitions, days", "number"),
    column("antivirus.products", "Antivirus", paper=False),
    column("platform_security.secure_boot", "Secure Boot"),
    column("platform_security.tpm_spec", "TPM", paper=False),
    column("platform_security.credential_guard", "Credential Guard", paper=False),
    column("hardening.uac", "UAC"),
    column("hardening.smb1", "SMB 1"),
    column("hardening.rdp", "RDP"),
    column("hardening.rdp_nla", "NLA"),
    column("hardening.laps", "LAPS"),
    column("hardening.lsa_protection", "LSA protection", paper=False),
    column("hardening.ntlm_level", "NTLM level", "number", paper=False),
    column("hardening.script_block_logging", "Script logging", paper=False),
    column("hardening.llmnr", "LLMNR", paper=False),
)


class Security:
    """`sources.Report`."""

    name = "security"
    title = "Security posture"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """What is not known of an endpoint is neither good nor bad: the first figure says of how many it is."""
        groups = {**PROTECTION, **EXPOSURE}
        ask = Asker(fleet, asked, {
            **{key: condition for key, (_, condition) in groups.items()},
            "all": EVERYONE,
            "known": "hardening.uac is not null",
            "antivirus": grouped("antivirus.products is not null", "antivirus.products"),
            "firewalls": grouped("firewall.profile is not null", "firewall.profile", "firewall.enabled"),
            "volumes": grouped("bitlocker.volume is not null", "bitlocker.type", "bitlocker.protection"),
            "admins_list": grouped("local_admins.account is not null and local_admins.disabled != true",
                                   "local_admins.account", "local_admins.type", "local_admins.origin"),
            "list": listed(EVERYONE, *(one.key for one in COLUMNS), sort=("endpoint.site", "endpoint.name")),
        })  # fmt: skip
        many = column("endpoints", "Endpoints", "number")
        return document(
            self, asked,
            Figures(items=(ask.figure("all", "endpoints"), ask.figure("known", "endpoints whose hardening is known"))),
            Figures(title="Protection", items=_figures(ask, PROTECTION)),
            Figures(title="Exposure", items=_figures(ask, EXPOSURE)),
            ask.bars("antivirus", "Antivirus products", "antivirus.products"),
            ask.table("firewalls", "Firewall profiles", (
                column("firewall.profile", "Profile"), column("firewall.enabled", "On"), many,
            )),
            ask.table("volumes", "Encryption of volumes", (
                column("bitlocker.type", "Volume"), column("bitlocker.protection", "Protection"), many,
            )),
            ask.table("admins_list", "Local administrators", (
                column("local_admins.account", "Account"), column("local_admins.type", "Type"),
                column("local_admins.origin", "Origin"), many,
            ), most=50),
            ask.table("list", "Endpoints", COLUMNS, main=True),
        )  # fmt: skip


def _figures(ask: Asker, group: Mapping[str, tuple[str, str]]) -> tuple[Figure, ...]:
    return tuple(ask.figure(key, label, "bad") for key, (label, _) in group.items())


def build() -> Security:
    """The plugin entry."""
    return Security()
