"""NTLM on the machine's side ([MS-NLMP] 3.2.5): the challenge names the machine, the account database judges.

pyspnego's acceptor does the cryptography and the sealing afterwards; it would read accounts from a file named by the
environment, of which there is one per process, while a process may hold several labs whose passwords change.
"""

from __future__ import annotations

import os
from typing import Any

import spnego
from spnego._context import GSSMech
from spnego._negotiate import NegotiateProxy
from spnego._ntlm import NTLMProxy
from spnego._ntlm_raw.crypto import compute_response_v2, md5, ntowfv2, rc4k
from spnego._ntlm_raw.messages import (
    Authenticate,
    AvFlags,
    AvId,
    Challenge,
    NegotiateFlags,
    NTClientChallengeV2,
    TargetInfo,
)
from spnego.channel_bindings import GssChannelBindings

from rmm.lab.machine import Machine
from rmm.lab.wire.accounts import Account, Accounts
from rmm.lab.wire.policy import Policy

DOMAIN = "LAB"


class RefusedError(Exception):
    """The logon is refused; to the client each reason is the same 401."""


class NtlmAcceptor(NTLMProxy):
    """pyspnego's acceptor with the machine's names and the lab's accounts.

    `binding` is the channel binding that a strict machine insists on; None without TLS.
    """

    def __init__(self, accounts: Accounts, machine: Machine, policy: Policy, binding: bytes | None) -> None:
        os.environ["NTLM_USER_FILE"] = __file__  # pyspnego insists that there is one; it is never read
        super().__init__(usage="accept", protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
        self._accounts = accounts
        self._machine = machine
        self._policy = policy
        self._binding = binding

    def _step_accept_negotiate(self, token: bytes) -> bytes:
        super()._step_accept_negotiate(token)
        made: Any = self._temp_challenge
        names = TargetInfo()
        names[AvId.nb_computer_name] = self._machine.name
        names[AvId.nb_domain_name] = DOMAIN
        names[AvId.dns_computer_name] = self._machine.dns_name
        names[AvId.timestamp] = made.target_info[AvId.timestamp]
        version = {"version": made.version} if made.version else {}
        challenge = Challenge(
            made.flags, made.server_challenge, target_name=self._machine.name, target_info=names, **version
        )
        self._temp_challenge = challenge
        return bytes(challenge.pack())

    def _step_accept_authenticate(self, token: bytes, channel_bindings: GssChannelBindings | None) -> None:
        self._accounts.proofs += 1
        message = Authenticate.unpack(token)
        user, domain = message.user_name or "", message.domain_name or ""
        account = self._accounts.find(f"{domain}\\{user}" if domain else user, self._machine.name)
        if self._policy.ntlm:
            raise RefusedError("NTLM is refused here")  # before a domain controller is asked: nothing is counted
        if not self._policy.trusted and account is not None and account.name.upper().startswith(f"{DOMAIN}\\"):
            raise RefusedError("no domain controller trusts this machine")
        response = message.nt_challenge_response or b""
        if len(response) <= 24:
            raise RefusedError("NTLMv1 is refused")
        key = self._proof(message, account, response)
        if not self._accounts.judge(account, proved=key is not None):
            raise RefusedError("the account database says no")
        assert key is not None
        self._check_binding(response)
        self._complete_with(message, key, response)

    def _proof(self, message: Authenticate, account: Account | None, response: bytes) -> bytes | None:
        """The key exchange key, if this is the account's password ([MS-NLMP] 3.3.2)."""
        challenge: Any = self._temp_challenge
        if account is None:
            return None
        client = NTClientChallengeV2.unpack(response[16:])
        secret = ntowfv2(message.user_name or "", account.nt_hash, message.domain_name)
        expected, _, key = compute_response_v2(
            secret, challenge.server_challenge, client.challenge_from_client, client.time_stamp, client.av_pairs
        )
        return bytes(key) if response == expected else None

    def _check_binding(self, response: bytes) -> None:
        """CbtHardeningLevel=Strict: the client must name the certificate that this machine presents."""
        if self._policy.cbt != "strict" or self._binding is None:
            return
        named = NTClientChallengeV2.unpack(response[16:]).av_pairs.get(AvId.channel_bindings)
        if named != md5(GssChannelBindings(application_data=self._binding).pack()):
            raise RefusedError("the channel binding is missing or wrong")

    def _complete_with(self, message: Authenticate, key: bytes, response: bytes) -> None:
        """The session key, and the check of the messages' integrity code ([MS-NLMP] 3.2.5.1.2)."""
        exchanged = message.flags & NegotiateFlags.key_exch
        self._session_key = rc4k(key, message.encrypted_random_session_key or b"") if exchanged else key
        if NTClientChallengeV2.unpack(response[16:]).av_pairs.get(AvId.flags, 0) & AvFlags.mic:
            negotiate: Any = self._temp_negotiate
            challenge: Any = self._temp_challenge
            expected, message.mic = message.mic, b"\x00" * 16
            if self._calculate_mic(self._session_key, negotiate.pack(), challenge.pack(), message.pack()) != expected:
                raise RefusedError("the integrity code is wrong")
        self._context_attr = message.flags
        self._complete = True


def spnego_acceptor(ntlm: NtlmAcceptor) -> Any:
    """The same inside SPNEGO (RFC 4178), as clients on Windows and foreign libraries wrap it."""
    ntlm._is_wrapped = True
    return NegotiateProxy(
        usage="accept",
        protocol="negotiate",
        options=spnego.NegotiateOptions.use_negotiate,
        _negotiate_contexts={GSSMech.ntlm: ntlm},
    )
