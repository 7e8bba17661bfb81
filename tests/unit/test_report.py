"""Benches report one JSON object per line, and what is printed is what is compared."""

from __future__ import annotations

import json

import pytest

from bench.report import percentile, progress, report
from pgsearch.errors import Error


def test_a_measurement_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("scifact", "rows", 5183, "rows") is None
    assert report("cosqa", "load", 1.5, "s") is None
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == [
        {"case": "scifact", "metric": "rows", "value": 5183, "unit": "rows"},
        {"case": "cosqa", "metric": "load", "value": 1.5, "unit": "s"},
    ]
    assert captured.err == ""


def test_text_that_is_not_ascii_and_line_breaks_stay_on_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report("Käse\n\u2028", "Zeit", 1.0, "µs")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["case"] == "Käse\n\u2028"
    assert "µs" in out


@pytest.mark.parametrize(
    ("value", "target", "holds"),
    [
        (0.64, ">= 0.64", True),
        (0.639999, ">= 0.64", False),
        (30.0, "<= 30", True),
        (30.1, "<= 30", False),
        (30.0, "< 30", False),
        (29.9, "<30", True),
        (30.0, "> 30", False),
        (-1.0, "> -1.5", True),
        (0, "== 0", True),
        (1, "== 0", False),
    ],
)
def test_a_target_holds_or_not(
    value: float, target: str, holds: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("c", "m", value, "u", target) is holds
    line = json.loads(capsys.readouterr().out)
    assert (line["target"], line["holds"]) == (target, holds)


def test_what_is_compared_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("c", "m", 0.6399999999, "u", ">= 0.64") is True
    assert json.loads(capsys.readouterr().out)["value"] == 0.64


@pytest.mark.parametrize("target", ["0.64", "=> 0.64", ">= much", ">= 0.64 s", "", "!= 3"])
def test_a_target_that_cannot_be_read_is_an_error(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Error, match="cannot be read"):
        report("c", "m", 1.0, "u", target)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_an_error(
    value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Error, match=r"'m' of 'c' is (nan|inf|-inf)"):
        report("c", "m", value, "u")
    assert capsys.readouterr().out == ""


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as display:
        display.update(display.add_task("embedding", total=3), completed=3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "embedding" in captured.err
    assert "3/3" in captured.err


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [
        ([5.0], 95, 5.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.5),
        ([1.0, 2.0, 3.0], 0, 1.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
        ([10.0 * n for n in range(11)], 95, 95.0),
        ([0.0, 100.0], 12.5, 12.5),
    ],
)
def test_a_percentile_lies_between_the_two_nearest_values(
    values: list[float], p: float, expected: float
) -> None:
    given = list(values)
    assert percentile(values, p) == pytest.approx(expected)
    assert values == given


@pytest.mark.parametrize(("values", "p"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_there_is_no_such_percentile(values: list[float], p: float) -> None:
    with pytest.raises(Error, match="no percentile"):
        percentile(values, p)
