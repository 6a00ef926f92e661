"""A site or collector that does not exist is refused, where an empty list would look like an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmm.cli.main import main


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["status", "--site", "nope"], "there is no site 'nope'; there are hq"),
        (["endpoints", "list", "--site", "nope"], "there is no site 'nope'; there are hq"),
        (["query", "endpoint.status is null", "--site", "nope"], "there is no site 'nope'; there are hq"),
        (["history", "cpu.util_pct", "--site", "nope"], "there is no site 'nope'; there are hq"),
        (["show", "SRV01", "--collector", "nope"], "there is no collector 'nope'"),
    ],
)
def test_refused(
    words: list[str],
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rmm.yaml").write_text("sites:\n  - {id: hq, credential: polling}\n", encoding="utf-8")
    (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\nSRV01,hq\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["rmm", *words, "--config", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"error: {wanted}\n" in capsys.readouterr().err
