import json
import math
from dataclasses import replace

import numpy as np
import pytest

from intact.errors import UsageError
from intact.numbers import Affine
from intact.report import Latency, Layer, ReportData, Span, spanning, to_json
from intact.report.data import describe


def test_json_holds_every_part_and_no_extensions(report: ReportData) -> None:
    plain = to_json(report)
    again = json.loads(json.dumps(plain, allow_nan=False))
    assert again == plain
    assert plain["version"] == 1
    assert plain["verdict"]["outcome"] == "pass"
    assert type(plain["verdict"]["outcome"]) is str
    assert plain["verdict"]["interval"] == list(report.verdict.interval)
    assert plain["layers"][20]["name"] == "fc"
    assert plain["reproduction"]["versions"][0] == ["intact", "0.1.0"]


def test_json_of_an_error_free_layer_and_of_nothing() -> None:
    plain = to_json(ReportData(model="m", layers=(Layer(name="a", op="Conv", sqnr_db=math.inf),)))
    assert plain["layers"][0]["sqnr_db"] is None
    assert plain["verdict"] is None
    assert plain["latencies"] == []


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        (Affine(scale=2.0**-5), "uint8, scale 2⁻⁵, zero point 0"),
        (Affine(scale=0.1, zero_point=7, bits=4), "uint4, scale 0.1, zero point 7"),
        (Affine(scale=[0.25, 0.5], signed=True, axis=0), "int8 × 2 channels, scale 2⁻² to 2⁻¹"),
        (Affine(scale=[1.0, 1.0], zero_point=[1, 3], axis=0), "uint8 × 2 channels, scale 2⁰, zero point 1 to 3"),
        (Affine(scale=[[1.0, 2.0]], signed=True, bits=4, axis=1, group=32), "int4 in groups of 32, scale 2⁰ to 2¹"),
    ],
)
def test_encodings_in_words(encoding: Affine, words: str) -> None:
    assert describe(encoding) == words


def test_spanning_takes_the_widest_channel() -> None:
    encoding = Affine(scale=[1.0, 0.5], zero_point=[0, 128], axis=0)
    span = spanning(encoding, np.array([0.0, -2.0]), np.array([9.0, 1.0]))
    assert (span.low, span.high, span.code_low, span.code_high) == (-2.0, 9.0, -64.0, 255.0)


def test_numbers_that_make_no_range_are_refused() -> None:
    good = Span(low=0.0, high=1.0, code_low=0.0, code_high=2.0, encoding="uint8")
    for change in ({"low": 2.0}, {"high": math.nan}, {"low": -math.inf}, {"code_high": 0.0}):
        with pytest.raises(UsageError):
            replace(good, **change)


def test_times_that_make_no_spread_are_refused() -> None:
    good = Latency(engine="e", kind="float", shape="1", median_ms=2.0, p10_ms=1.0, p90_ms=3.0)
    for change in ({"p10_ms": 2.5}, {"p90_ms": 1.5}, {"p10_ms": -1.0}, {"median_ms": math.nan}, {"p90_ms": math.inf}):
        with pytest.raises(UsageError, match="wanted ascending finite numbers"):
            replace(good, **change)
