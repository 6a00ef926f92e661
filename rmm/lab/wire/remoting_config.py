"""winrm/config of a lab machine, as WS-Transfer Get gives it.

The element names and their order are those of a recorded Windows Server 2016 (pypsrp's test data); the values are a
profile's: Microsoft's pages disagree about the defaults, so an older and a newer set are both to be met.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.lab.wire.soap import escape

CONFIG = "http://schemas.microsoft.com/wbem/wsman/1/config"
MOST_SHELLS = 30  # MaxShellsPerUser where a profile says nothing
UNLIMITED = "4294967295"

# Documented for Windows Server 2012 and later ...
NEWER: dict[str, Any] = {
    "MaxEnvelopeSizekb": 500, "MaxTimeoutms": 60_000, "MaxConnections": 300, "MaxConcurrentOperationsPerUser": 1500,
    "IdleTimeout": 7_200_000, "MaxConcurrentUsers": 10, "MaxProcessesPerShell": 25, "MaxMemoryPerShellMB": 1024,
    "MaxShellsPerUser": MOST_SHELLS, "AllowUnencrypted": "false", "Basic": "false", "CredSSP": "false",
    "CbtHardeningLevel": "Relaxed",
}  # fmt: skip
# ... and for the releases before it, which some hardening guides still set.
OLDER: dict[str, Any] = NEWER | {
    "MaxEnvelopeSizekb": 150, "MaxConnections": 25, "MaxConcurrentOperationsPerUser": 15, "IdleTimeout": 180_000,
    "MaxConcurrentUsers": 5, "MaxProcessesPerShell": 15, "MaxMemoryPerShellMB": 150, "MaxShellsPerUser": 5,
}  # fmt: skip
BY_PROFILE: Mapping[str, dict[str, Any]] = {
    "server2016": NEWER | {"MaxProcessesPerShell": 2_147_483_647, "MaxMemoryPerShellMB": 2_147_483_647},
}


def config_of(profile: str, changed: Mapping[str, Any]) -> str:
    """The cfg:Config element of a machine; `changed` are values that a fault plan sets."""
    values = {name: escape(str(value)) for name, value in (BY_PROFILE.get(profile, NEWER) | dict(changed)).items()}
    return _TEMPLATE.format_map(values)


_TEMPLATE = (
    f'<cfg:Config xmlns:cfg="{CONFIG}"><cfg:MaxEnvelopeSizekb>{{MaxEnvelopeSizekb}}</cfg:MaxEnvelopeSizekb>'
    "<cfg:MaxTimeoutms>{MaxTimeoutms}</cfg:MaxTimeoutms><cfg:MaxBatchItems>32000</cfg:MaxBatchItems>"
    f"<cfg:MaxProviderRequests>{UNLIMITED}</cfg:MaxProviderRequests><cfg:Client>"
    "<cfg:NetworkDelayms>5000</cfg:NetworkDelayms><cfg:URLPrefix>wsman</cfg:URLPrefix>"
    "<cfg:AllowUnencrypted>false</cfg:AllowUnencrypted><cfg:Auth><cfg:Basic>true</cfg:Basic>"
    "<cfg:Digest>true</cfg:Digest><cfg:Kerberos>true</cfg:Kerberos><cfg:Negotiate>true</cfg:Negotiate>"
    "<cfg:Certificate>true</cfg:Certificate><cfg:CredSSP>false</cfg:CredSSP></cfg:Auth><cfg:DefaultPorts>"
    "<cfg:HTTP>5985</cfg:HTTP><cfg:HTTPS>5986</cfg:HTTPS></cfg:DefaultPorts><cfg:TrustedHosts></cfg:TrustedHosts>"
    "</cfg:Client><cfg:Service><cfg:RootSDDL>O:NSG:BAD:P(A;;GA;;;BA)(A;;GR;;;IU)S:P(AU;FA;GA;;;WD)(AU;SA;GXGW;;;WD)"
    f"</cfg:RootSDDL><cfg:MaxConcurrentOperations>{UNLIMITED}</cfg:MaxConcurrentOperations>"
    "<cfg:MaxConcurrentOperationsPerUser>{MaxConcurrentOperationsPerUser}</cfg:MaxConcurrentOperationsPerUser>"
    "<cfg:EnumerationTimeoutms>240000</cfg:EnumerationTimeoutms><cfg:MaxConnections>{MaxConnections}"
    "</cfg:MaxConnections><cfg:MaxPacketRetrievalTimeSeconds>120</cfg:MaxPacketRetrievalTimeSeconds>"
    "<cfg:AllowUnencrypted>{AllowUnencrypted}</cfg:AllowUnencrypted><cfg:Auth><cfg:Basic>{Basic}</cfg:Basic>"
    "<cfg:Kerberos>true</cfg:Kerberos><cfg:Negotiate>true</cfg:Negotiate><cfg:Certificate>false</cfg:Certificate>"
    "<cfg:CredSSP>{CredSSP}</cfg:CredSSP><cfg:CbtHardeningLevel>{CbtHardeningLevel}</cfg:CbtHardeningLevel></cfg:Auth>"
    "<cfg:DefaultPorts><cfg:HTTP>5985</cfg:HTTP><cfg:HTTPS>5986</cfg:HTTPS></cfg:DefaultPorts>"
    "<cfg:IPv4Filter>*</cfg:IPv4Filter><cfg:IPv6Filter>*</cfg:IPv6Filter>"
    "<cfg:EnableCompatibilityHttpListener>false</cfg:EnableCompatibilityHttpListener>"
    "<cfg:EnableCompatibilityHttpsListener>false</cfg:EnableCompatibilityHttpsListener>"
    "<cfg:CertificateThumbprint></cfg:CertificateThumbprint><cfg:AllowRemoteAccess>true</cfg:AllowRemoteAccess>"
    "</cfg:Service><cfg:Winrs><cfg:AllowRemoteShellAccess>true</cfg:AllowRemoteShellAccess>"
    "<cfg:IdleTimeout>{IdleTimeout}</cfg:IdleTimeout><cfg:MaxConcurrentUsers>{MaxConcurrentUsers}"
    "</cfg:MaxConcurrentUsers><cfg:MaxShellRunTime>2147483647</cfg:MaxShellRunTime>"
    "<cfg:MaxProcessesPerShell>{MaxProcessesPerShell}</cfg:MaxProcessesPerShell>"
    "<cfg:MaxMemoryPerShellMB>{MaxMemoryPerShellMB}</cfg:MaxMemoryPerShellMB>"
    "<cfg:MaxShellsPerUser>{MaxShellsPerUser}</cfg:MaxShellsPerUser></cfg:Winrs></cfg:Config>"
)
