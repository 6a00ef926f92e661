"""The form in which a collector's script travels: comment lines, blank lines and indentation taken out."""

from __future__ import annotations


def wire_form(text: str) -> str:
    """`text` without lines that hold only a comment, blank lines, indentation and trailing blanks; LF line ends.

    Scripts with texts or comments over several lines would change their meaning; `rmm collector check` refuses them.
    """
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))
