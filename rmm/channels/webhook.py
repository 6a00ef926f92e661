"""The webhook channel: each notification as a JSON body by POST, with an idempotency key, signed where it has a secret.

The signature is that of Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from rmm.channels._http import Poster, header
from rmm.channels._options import check_names, secret_of, text_of, url_of
from rmm.errors import ConfigError
from rmm.model.endpoint import Credential
from rmm.model.rule import Notification

_OPTIONS = {"url", "headers", "ca_file", "secret"}
_PREFIX = "whsec_"


class WebhookChannel:
    """`ports.Channel`."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], ca_file: str, key: bytes = b"") -> None:
        self.name = name
        self._poster = Poster(url, ca_file)
        self._headers = dict(headers)
        self._key = key

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """POST it; any 2xx is a receipt."""
        body = msgspec.json.encode({"version": 1, **msgspec.to_builtins(notification)})
        identity = header(notification.id)  # it may hold what an endpoint wrote
        headers = {**self._headers, "Content-Type": "application/json", "Idempotency-Key": identity}
        if self._key:
            headers |= signed(self._key, identity, int(time.time()), body)
        answer = await self._poster.post(body, headers, deadline=deadline)
        return f"HTTP {answer.status}"


def signed(key: bytes, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove who wrote the body, and when (seconds since 1970)."""
    content = f"{identity}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"webhook-id": identity, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def build(*, name: str, options: Mapping[str, Any]) -> WebhookChannel:
    """Options: `url` (http or https), `headers`, `ca_file`, `secret` for the signature. Secrets are `{vault: NAME}`."""
    check_names(name, options, _OPTIONS)
    url = url_of(name, options, secret=False)
    headers = options.get("headers") or {}
    if not isinstance(headers, dict):
        raise ConfigError(f"channel {name}: headers must be a mapping of names to one-line values")
    plain = {str(k): v.secret.reveal() if isinstance(v, Credential) else str(v) for k, v in headers.items()}
    if any("\n" in k + v or "\r" in k + v for k, v in plain.items()):
        raise ConfigError(f"channel {name}: headers must be a mapping of names to one-line values")
    key = _key(name, secret_of(name, options, "secret").reveal()) if "secret" in options else b""
    return WebhookChannel(name, url, plain, text_of(name, options, "ca_file"), key)


def _key(name: str, text: str) -> bytes:
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:  # its text may say part of the secret
        raise ConfigError(f"channel {name}: secret: what follows {_PREFIX} is not base64") from None
