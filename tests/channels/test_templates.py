"""Templates: sandboxed, bounded in time and size."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from servers import alert, hostile, notification

from rmm.channels._text import MOST_OUTPUT, Templates, view
from rmm.errors import TemplateError

LOOP = "{% for a in alerts %}" * 8 + "{% endfor %}" * 8
EVIL = {
    "{{ ''.__class__.__mro__ }}": "unsafe",
    "{{ alerts.append(1) }}": "unsafe",
    "{{ cycler }}": "undefined",
    "{{ alerts[0].clear() }}": "unsafe",
    "{{ self._TemplateReference__context }}": "unsafe",
    "{% include 'message.txt' %}": "includes itself",
    "{% include '../secret' %}": "which there is not",
    "{{ 'a' * 100000000 }}": "numbers below",
    "{{ 9 ** 9 }}": "not for templates",
    "{{ 'a'|center(100000000) }}": "No filter",
    "{{ 1 / 0 }}": "division",
    "{{ nothing }}": "undefined",
    "{{": "TemplateSyntaxError",
    LOOP: "more than 1 s",
    "{% set x0 = title %}" + "".join(f"{{% set x{n + 1} = x{n} ~ x{n} %}}" for n in range(60)): "characters",
    "{% set x %}" + "a" * 1000 + "{% endset %}" + "{% for a in alerts %}{% for b in alerts %}{{ x }}{% endfor %}{% endfor %}": "characters",  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("source", EVIL, ids=range(len(EVIL)))
def test_what_a_template_cannot_do(source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "message.txt").write_text(source)
    templates, values = Templates(tmp_path), view(notification(*[alert(key=str(n)) for n in range(60)]))
    began = time.monotonic()
    with pytest.raises(TemplateError, match=EVIL[source]):
        templates.own("message.txt", values)
    assert time.monotonic() - began < 5
    text = templates.render("message.txt", values)  # the shipped one
    assert text.startswith("\n") is False and "Alerts: 60 firing" in text and "10 more" in text
    assert "templates/message.txt" in caplog.text


def test_values_are_never_templates_and_are_bounded() -> None:
    templates, values = Templates(None), view(hostile())
    for name in ("subject.txt", "message.txt", "message.html", "short.txt"):
        text = templates.render(name, values)
        assert len(text) < MOST_OUTPUT and "\x1b" not in text and "\r" not in text and "\x00" not in text
        assert "49" not in text
    assert "<script" not in templates.render("message.html", values)


def test_what_templates_may_do(tmp_path: Path) -> None:
    (tmp_path / "message.txt").write_text("{{ alerts | map(attribute='name') | list }}")
    with pytest.raises(TemplateError):  # `map` is not among the filters
        Templates(tmp_path).own("message.txt", view(notification()))
    (tmp_path / "message.txt").write_text("{{ count + 1 }} {{ alerts[0].name | lower }} {{ firing }}")
    assert Templates(tmp_path).own("message.txt", view(notification())) == "2 srv01 1"
