"""The stand-in for SQL Server's client lets nothing pass that the real one, or this product, would refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rmm.catalog.check import check_script
from rmm.lab.windows.state import state_of_sample
from rmm.model.collector import Collector
from tests.collectors.conftest import read_samples
from tests.collectors.executor import Executor, Job

STATE: dict[str, Any] = {"format": 1, "computer": "SQL01", "sql": {".": {"jobs": [{"Name": "a"}]}}}
CONNECT = """
$connection = New-Object -TypeName System.Data.SqlClient.SqlConnection -ArgumentList '{connection}'
$connection.Open()
$command = New-Object -TypeName System.Data.SqlClient.SqlCommand -ArgumentList '{query}', $connection
$reader = $command.ExecuteReader()
while ($reader.Read()) {{ $reader.GetName(0) + '=' + $reader.GetValue(0) }}
"""
GOOD = CONNECT.format(
    connection="Server=.;Integrated Security=true", query="/* jobs */ SELECT name FROM msdb.dbo.sysjobs"
)


def test_what_only_reads_is_answered(executor: Executor) -> None:
    (result,) = executor.run(STATE, [Job(GOOD)])
    assert (result.output, result.error, result.refusals) == (["Name=a"], None, [])


@pytest.mark.parametrize(
    "query",
    [
        "/* jobs */ DELETE FROM msdb.dbo.sysjobs",
        "/* jobs */ SELECT 1; EXEC sp_configure",
        "/* jobs */ BACKUP DATABASE a",
    ],
)
def test_a_query_that_writes_is_refused(executor: Executor, query: str) -> None:
    (result,) = executor.run(STATE, [Job(CONNECT.format(connection="Server=.", query=query))])
    assert "more than read" in result.refusals[0]


def test_a_password_is_refused(executor: Executor) -> None:
    text = CONNECT.format(connection="Server=.;User Id=sa;Password=x", query="/* jobs */ SELECT 1")
    assert "password" in executor.run(STATE, [Job(text)])[0].refusals[0]


@pytest.mark.parametrize("answer", [{"error": 18456}, {"jobs": 229}])
def test_a_refusal_has_sql_server_s_number(executor: Executor, answer: dict[str, Any]) -> None:
    deepest = "$e = $_.Exception; while ($e.InnerException) { $e = $e.InnerException }; $e.Number"
    text = f"try {{{GOOD}}} catch {{ {deepest} }}"
    (result,) = executor.run({**STATE, "sql": {".": answer}}, [Job(text)])
    assert result.output == [str(next(iter(answer.values())))]


def test_constrained_language_has_no_client(executor: Executor) -> None:
    (result,) = executor.run(STATE, [Job(GOOD, "ConstrainedLanguage")])
    assert result.error is not None
    assert result.error["id"].startswith("CannotCreateTypeConstrainedLanguage")


@pytest.mark.parametrize("name", ["sql_databases", "sql_jobs"])
def test_in_constrained_language_the_collectors_say_so(
    executor: Executor, catalog: dict[str, Collector], name: str
) -> None:
    one = catalog[name]
    sample = next(s for s in read_samples({name: one}) if s.case == "server2022-sql-typical")
    (result,) = executor.run(
        state_of_sample(one, sample.content, sample.case), [Job(one.windows, "ConstrainedLanguage")]
    )
    document = json.loads(result.output[-1])
    assert document[one.manifest.rows] == []
    assert {(note["Source"], note["Reason"]) for note in document["notes"]} == {(one.manifest.rows, "unsupported")}


def test_the_queries_of_the_collectors_pass_the_checker_and_write_nothing(catalog: dict[str, Collector]) -> None:
    for name in ("sql_databases", "sql_jobs"):
        assert check_script(catalog[name].windows, name) == []
        for word in ("INSERT ", "UPDATE ", "DELETE ", "EXEC ", "DROP ", "ALTER "):
            assert word not in catalog[name].windows
