"""Which worker gets a delivery and when: a site always the same one, and its deliveries in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

PATIENCE_S = 5.0  # that the others of a site wait for one that was put off and does not come again


class PutOff:
    """Deliveries that were put off, by site, oldest first: none of them is overtaken by another of its site.

    A delivery has no number that a bus promises, so it is known by its bytes. Times are in seconds of any clock that
    does not go back.
    """

    def __init__(self) -> None:
        self._sites: dict[str, dict[bytes, float]] = {}  # site -> what -> until when it is waited for

    def is_next(self, site: str, data: bytes, now: float) -> bool:
        """Whether no older one of its site is out."""
        waiting = self._sites.get(site)
        if not waiting:
            return True
        key = _key(data)
        while waiting and (first := next(iter(waiting))) != key and waiting[first] < now:
            del waiting[first]
        if waiting and first != key:
            return False
        waiting.pop(key, None)
        if not waiting:
            del self._sites[site]
        return True

    def put(self, site: str, data: bytes, until: float) -> None:
        """It was put off until then, and keeps its place if it was before."""
        self._sites.setdefault(site, {})[_key(data)] = until + PATIENCE_S

    def put_before(self, site: str, older: Iterable[bytes], until: float) -> None:
        """These, oldest first, were put off until then, and are older than all that were put off before."""
        first = dict.fromkeys(map(_key, older), until + PATIENCE_S)
        self._sites[site] = first | {key: at for key, at in self._sites.get(site, {}).items() if key not in first}


def _key(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
