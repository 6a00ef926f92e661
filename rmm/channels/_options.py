"""What the channels' options have in common: known names, secrets that come from the vault, one-line texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from rmm.errors import ConfigError
from rmm.model.endpoint import Credential, Secret


def check_names(name: str, options: Mapping[str, Any], known: Collection[str]) -> None:
    """ConfigError for an option that there is not."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"channel {name}: unknown option {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def secret_of(name: str, options: Mapping[str, Any], key: str) -> Secret:
    """A secret that must come from the vault: `key: {vault: NAME}`."""
    value = options.get(key)
    if not isinstance(value, Credential):
        raise ConfigError(
            f"channel {name}: {key}: write {{vault: NAME}}",
            hint=f"Secrets are kept in the vault: `rmm credentials set NAME --username {key}` asks for it.",
        )
    return value.secret


def text_of(name: str, options: Mapping[str, Any], key: str, default: str = "") -> str:
    """A text of one line."""
    value = options.get(key, default)
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).isprintable():
        raise ConfigError(f"channel {name}: {key}: a text of one line is expected")
    return str(value)


def choice_of(name: str, options: Mapping[str, Any], key: str, choices: Collection[str], default: str) -> str:
    """One of several words."""
    value = text_of(name, options, key, default)
    if value not in choices:
        raise ConfigError(f"channel {name}: {key}: {value!r} is not one of {', '.join(choices)}")
    return value


def port_of(name: str, options: Mapping[str, Any], default: int) -> int:
    """Option `port`."""
    value = options.get("port", default)
    if not isinstance(value, int) or not 1 <= value <= 65_535:
        raise ConfigError(f"channel {name}: port: 1 to 65535 are allowed")
    return value


def url_of(name: str, options: Mapping[str, Any], *, secret: bool, default: str = "") -> str:
    """Option `url`: an http or https address; one that is a secret comes from the vault."""
    value: Any = secret_of(name, options, "url").reveal() if secret else options.get("url", default)
    if isinstance(value, Credential):
        value = value.secret.reveal()
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() else None
        right = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise ConfigError(f"channel {name}: url must be an http or https address")
    return str(value)
