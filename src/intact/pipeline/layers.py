"""How far each layer of the integer model is from float, and which layers cost most."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.calibrate import Statistics
from intact.compress.emit import Emission, emit
from intact.compress.encodings import Encoding, choose_encodings
from intact.compress.plan import Plan, plan
from intact.compress.recipe import Override
from intact.compress.sequence import solve_layers, still_good
from intact.graph.portions import Portions
from intact.graph.run import Runner
from intact.numbers import Affine

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """What became of one layer.

    Args:
        name: The layer.
        op: Its float operator.
        weights: Code of the weights that run, a scale per output channel.
        bits: Width of the codes behind them.
        weight_low, weight_high: Range of its float weights.
        weight_bytes: Bytes of its weight codes.
        source: Code of its input.
        source_low, source_high: Range of its input, as calibration saw it.
        output_sqnr_db: Signal to quantization noise of its output, everything before it quantized too.
        cost: Share of the model's output error that goes away when this layer alone stays float; None if not measured.
    """

    name: str
    op: str
    weights: Affine
    bits: int
    weight_low: float
    weight_high: float
    weight_bytes: int
    source: Encoding | None
    source_low: float
    source_high: float
    output_sqnr_db: float
    cost: float | None = None


def describe(
    made: Plan,
    emission: Emission,
    encodings: Mapping[str, Encoding],
    statistics: Mapping[str, Statistics],
    data: Mapping[str, Array],
) -> tuple[LayerFacts, ...]:
    """Return the facts of every quantized layer, its output error measured on `data`."""
    noise = _output_noise(made, emission, encodings, data)
    facts = []
    for step in made.layers:
        codes = emission.solutions[step.layer].codes
        weight = made.graph.constants[step.nodes[0].inputs[1]]
        source = step.nodes[0].inputs[0]
        low, high = _seen(statistics.get(source), encodings.get(source))
        facts.append(
            LayerFacts(
                name=step.layer,
                op=step.nodes[0].op,
                weights=codes.encoding,
                bits=emission.solutions[step.layer].bits,
                weight_low=float(weight.min()),
                weight_high=float(weight.max()),
                weight_bytes=codes.q.nbytes,
                source=encodings.get(source),
                source_low=low,
                source_high=high,
                output_sqnr_db=noise[step.outputs[0]],
            )
        )
    return tuple(facts)


def _seen(seen: Statistics | None, encoding: Encoding | None) -> tuple[float, float]:
    """Range of an input in the units of its code: a smoothed input is divided first."""
    if seen is None:
        return 0.0, 0.0
    if encoding is None or encoding.factor.ndim == 0:
        return seen.low, seen.high
    return float((seen.channel_low / encoding.factor).min()), float((seen.channel_high / encoding.factor).max())


def _output_noise(
    made: Plan, emission: Emission, encodings: Mapping[str, Encoding], data: Mapping[str, Array]
) -> dict[str, float]:
    """Signal to noise ratio in dB of the output of each quantized layer."""
    outputs = [step.outputs[0] for step in made.layers]
    coded = [name for name in outputs if name in made.coded]
    plain = [name for name in outputs if name not in made.coded]
    reference = Portions(Runner(made.graph, fetch=outputs, packs=False), made.graph.inputs)
    integer = Runner(emission.graph, fetch=[f"{name}_q" for name in coded] + plain, packs=False)
    power, noise = dict.fromkeys(outputs, 0.0), dict.fromkeys(outputs, 0.0)
    for portion in reference.run(data):
        values = integer(portion.feeds)
        for name in outputs:
            signal = portion.values[name]
            value = values[name] if name in plain else _decode(values[f"{name}_q"], encodings[name])
            power[name] += float(np.square(signal, dtype=np.float64).sum())
            noise[name] += float(np.square(signal.astype(np.float64) - value).sum())
    return {name: decibels(power[name], noise[name]) for name in outputs}


def _decode(codes: Array, encoding: Encoding) -> Array:
    return np.asarray((codes.astype(np.float32) - encoding.zero_point) * np.float32(encoding.scale))


def decibels(power: float, noise: float) -> float:
    """Signal power over noise power, at most 200 dB."""
    return min(200.0, 10.0 * float(np.log10(max(power, 1e-300) / max(noise, 1e-300))))


def costs(
    made: Plan,
    emission: Emission,
    encodings: Mapping[str, Encoding],
    statistics: Mapping[str, Statistics],
    data: Mapping[str, Array],
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Return, for each layer, the share of the output error that goes away when it alone stays float."""
    names = [port.name for port in made.graph.outputs]
    reference = Runner(made.graph)(data)
    whole = _error(reference, Runner(emission.graph)(data), names)
    found = {}
    for number, step in enumerate(made.layers):
        progress(number, len(made.layers))
        override = Override(pattern=step.layer.replace("[", "[[]"), settings={"weights": "float"})
        recipe = replace(made.recipe, profile="auto", layout=made.layout, overrides=(*made.recipe.overrides, override))
        without = plan(made.graph, recipe)
        changed = choose_encodings(without, statistics)
        kept = still_good(without, encodings, changed, emission.solutions)
        graph = emit(without, changed, solve_layers(without, changed, (), known=kept)).graph
        found[step.layer] = 1.0 - _error(reference, Runner(graph)(data), names) / whole if whole else 0.0
    progress(len(made.layers), len(made.layers))
    return found


def _error(reference: Mapping[str, Array], other: Mapping[str, Array], names: list[str]) -> float:
    return sum(float(np.mean(np.square(reference[name].astype(np.float64) - other[name]))) for name in names)
