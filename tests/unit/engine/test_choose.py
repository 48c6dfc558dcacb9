"""The fastest engine that conforms is taken, and remembered; one that does not is never used."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import grow, sample

from intact.engine.backend import Backend, EngineError, Options
from intact.engine.backends import get
from intact.engine.choose import load
from intact.engine.conformance import make_vectors
from intact.errors import CheckFailed, UsageError

PROGRAM = grow(4).program()
VECTORS = make_vectors(PROGRAM, "exact")
REFERENCE = get("reference")


class Fake:
    """An engine around the reference that counts what happens to it and may be slow, wrong or broken."""

    def __init__(self, name: str, *, delay_s: float = 0.0, wrong: object = (), broken: object = (), reason=None):
        self.loads: list[str] = []
        self.runs = 0
        self.name, self.delay_s, self.wrong, self.broken = name, delay_s, wrong, broken
        self.backend = Backend(
            name=name, why_unavailable=lambda: reason, load=self.load, variants=("default", "careful")
        )

    def load(self, program, options: Options, variant: str):
        if program is PROGRAM:
            self.loads.append(variant)
        if variant in self.broken:
            raise EngineError(f"{self.name} has no kernel for this")
        base = REFERENCE.load(program, options, variant)

        def execute(inputs):
            self.runs += program is PROGRAM
            time.sleep(self.delay_s)
            outputs = base.execute(inputs)
            if variant in self.wrong and program is PROGRAM:
                outputs["y"] = outputs["y"] + np.float32(1)
            return outputs

        return replace(base, engine=self.name, variant=variant, execute=execute)


def outcomes(loaded) -> list[tuple[str, str]]:
    return [(tried.name, tried.outcome) for tried in loaded.tried]


def test_the_fastest_is_taken_and_the_others_are_on_record():
    slow, fast = Fake("slow", delay_s=0.05), Fake("fast")
    loaded = load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend])
    assert loaded.engine == "fast"
    assert outcomes(loaded) == [("slow", "conforms"), ("fast", "conforms")]
    assert loaded.tried[0].ms > 50 > loaded.tried[1].ms


def test_a_single_engine_is_not_timed(tmp_path):
    only = Fake("only")
    loaded = load(PROGRAM, VECTORS, engines=[only.backend], cache_path=tmp_path / "engines.json")
    assert loaded.tried[0].ms is None
    assert only.runs == len(VECTORS.cases)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_wrong_is_passed_over():
    wrong, right = Fake("wrong", wrong=("default", "careful")), Fake("right", delay_s=0.01)
    loaded = load(PROGRAM, VECTORS, engines=[wrong.backend, right.backend])
    assert loaded.engine == "right"
    assert [name for name, outcome in outcomes(loaded) if "does not conform: output 'y'" in outcome] == [
        "wrong",
        "wrong/careful",
    ]


def test_a_later_variant_is_tried_where_an_earlier_one_does_not_conform():
    engine = Fake("engine", wrong=("default",))
    loaded = load(PROGRAM, VECTORS, engines=[engine.backend])
    assert loaded.engine == "engine/careful"
    assert engine.loads == ["default", "careful"]


def test_the_variant_that_a_backend_prefers_for_a_program_is_tried_first():
    engine = Fake("engine")
    preferring = replace(engine.backend, prefers=lambda program: ("careful",) if program is PROGRAM else ())
    assert load(PROGRAM, VECTORS, engines=[preferring]).engine == "engine/careful"
    assert engine.loads == ["careful"]


def test_a_preferred_variant_that_does_not_conform_is_passed_over():
    engine = Fake("engine", wrong=("careful",))
    preferring = replace(engine.backend, prefers=lambda program: ("careful",))
    assert load(PROGRAM, VECTORS, engines=[preferring]).engine == "engine"
    assert engine.loads == ["careful", "default"]


def test_none_that_conforms_is_an_error_that_says_why_for_each():
    wrong = Fake("wrong", wrong=("default",), broken=("careful",))
    missing = Fake("missing", reason="missing is not installed")
    with pytest.raises(CheckFailed) as raised:
        load(PROGRAM, VECTORS, engines=[wrong.backend, missing.backend])
    text = raised.value.message
    assert "no engine on this host computes what the model defines" in text
    assert "wrong: engine wrong does not conform: output 'y' of vector 0" in text
    assert "wrong/careful: wrong has no kernel for this" in text
    assert "missing: missing is not installed" in text
    assert missing.loads == []


def test_engines_are_named():
    assert load(PROGRAM, VECTORS, engines=["reference"]).engine == "reference"
    with pytest.raises(UsageError, match="no engine 'quantum'"):
        load(PROGRAM, VECTORS, engines=["quantum"])
    with pytest.raises(UsageError, match="no engine is named"):
        load(PROGRAM, VECTORS, engines=[])


def test_the_reference_is_not_taken_unasked():
    loaded = load(PROGRAM, VECTORS)
    assert not any(tried.name == "reference" for tried in loaded.tried)
    np.testing.assert_array_equal(
        loaded.session.run({"x": sample(1)})["y"],
        REFERENCE.load(PROGRAM, Options(), "default").run({"x": sample(1)})["y"],
    )


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "engines.json"


def test_the_winner_is_remembered_and_only_it_is_loaded_again(cache):
    slow, fast = Fake("slow", delay_s=0.008), Fake("fast")
    load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend], cache_path=cache)
    slow.loads.clear(), fast.loads.clear()
    fast.runs = 0
    loaded = load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend], cache_path=cache)
    assert loaded.remembered and loaded.engine == "fast"
    assert (slow.loads, fast.loads) == ([], ["default"])
    assert fast.runs == len(VECTORS.cases)  # tested again, not timed again


def test_a_remembered_engine_that_no_longer_conforms_gives_way(cache):
    slow, fast = Fake("slow", delay_s=0.008), Fake("fast")
    engines = [slow.backend, fast.backend]
    load(PROGRAM, VECTORS, engines=engines, cache_path=cache)
    fast.wrong = ("default", "careful")
    loaded = load(PROGRAM, VECTORS, engines=engines, cache_path=cache)
    assert loaded.engine == "slow" and not loaded.remembered
    fast.wrong = ()
    assert load(PROGRAM, VECTORS, engines=engines, cache_path=cache).engine == "slow"


@pytest.mark.parametrize("what", ["threads", "sizes", "engines", "model"])
def test_another_question_is_answered_anew(cache, what):
    slow, fast = Fake("slow", delay_s=0.008), Fake("fast")
    engines, program, vectors = [slow.backend, fast.backend], PROGRAM, VECTORS
    load(program, vectors, engines=engines, cache_path=cache)
    changed = {"engines": engines, "cache_path": cache}
    if what == "threads":
        changed["options"] = Options(threads=2)
    elif what == "sizes":
        changed["sizes"] = {"n": 2}
    elif what == "engines":
        changed["engines"] = [*engines, Fake("third", delay_s=0.008).backend]
    else:
        program = grow(5).program()
        vectors = make_vectors(program, "exact")
    assert not load(program, vectors, **changed).remembered


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 9}', b"\x00" * 50])
def test_a_damaged_memory_costs_only_time(cache, content):
    slow, fast = Fake("slow", delay_s=0.008), Fake("fast")
    cache.write_bytes(content)
    loaded = load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend], cache_path=cache)
    assert loaded.engine == "fast"
    assert loaded.tried[0].name == "remembered choices"
    assert load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend], cache_path=cache).remembered


def test_a_memory_that_names_a_stranger_is_not_followed(cache):
    slow, fast = Fake("slow", delay_s=0.008), Fake("fast")
    load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend], cache_path=cache)
    cache.write_text(cache.read_text().replace('"fast"', '"os.system"'))
    assert load(PROGRAM, VECTORS, engines=[slow.backend, fast.backend], cache_path=cache).engine == "fast"


def test_a_memory_that_cannot_be_written_is_on_record(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "engines.json"
    loaded = load(PROGRAM, VECTORS, engines=[Fake("a").backend, Fake("b").backend], cache_path=path)
    assert "cannot be written" in loaded.tried[-1].outcome


def test_timing_uses_the_sizes_asked_for():
    rows = []
    fake = Fake("a")
    inner = fake.load

    def load_and_watch(program, options, variant):
        session = inner(program, options, variant)
        return replace(session, execute=lambda x: rows.append(len(next(iter(x.values())))) or session.execute(x))

    watched = replace(fake.backend, load=load_and_watch)
    load(PROGRAM, VECTORS, engines=[watched, Fake("b").backend], sizes={"n": 17})
    assert 17 in rows


def test_threads_must_be_positive():
    with pytest.raises(UsageError, match="threads is 0"):
        Options(threads=0)
