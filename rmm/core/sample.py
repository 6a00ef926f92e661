"""What is kept of an answer that could not be read: a short excerpt without names and secrets. Pure."""

from __future__ import annotations

from rmm.core.coerce import shown
from rmm.core.scrub import Scrubber
from rmm.model.endpoint import Target

MOST = 300  # characters


def sample_of(raw: str, target: Target) -> str:
    """`raw`, which is all that an error kept, without what says whose it is: one line of at most MOST characters.

    Scrubbed before it is cut, so that nothing escapes by being half there; as values under their keys, and then as
    plain text, since what is malformed may hide a value from whoever looks for keys.
    """
    if not raw:
        return ""
    scrubber = Scrubber(target.credential.username, target.credential.secret.reveal(), names=True)
    scrubber.learn_machine((target.name, target.host), "")
    scrubber.learn(raw)
    return shown(scrubber.word(scrubber.text(raw)), MOST)
