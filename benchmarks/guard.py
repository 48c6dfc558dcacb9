"""How well does the guard tell good inputs from others, what does it cost, and what is left of it for who knows it?

Run `python benchmarks/guard.py`. Two networks are trained on 58,000 images of Fashion-MNIST and built with the default
recipe, calibrated on 1,000 images more. Every score is of the integer model, on test images that nobody saw before:

- strangers: 10,000 test images against MNIST, and against noise;
- attacks: the float model is attacked (FGSM, PGD) on 500 (200) test images that it has right; of those that then fool
  the integer model, how many are seen;
- an attacker who has the contract and attacks model and checks at once;
- queries of natural callers, and of some who copy the model or walk along its boundary;
- microseconds of all default checks together; what the tap costs the model; seconds and bytes of a build.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import intact
from guard_attacks import Attacker, Knowledge, fgsm, pgd
from intact.guard import Guard, Probing
from places import work
from results import Results

Array = NDArray[Any]

DATA = Path(os.environ.get("INTACT_DATA", "../shared/data"))
HELD = 2000
CALIBRATION = 1000
ATTACKED = {"MLP": 500, "CNN": 200}
EPSILONS = (0.05, 0.1)
QUERIES = 600
SUBJECTS = 12
REPEATS = 2000


class Mlp(nn.Module):
    """784-128-128-10."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.head = nn.Linear(128, 10)

    def features(self, x: Tensor) -> Tensor:
        """What the head reads."""
        return torch.as_tensor(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.features(x)))


class Cnn(nn.Module):
    """Three convolutions, the mean over the image, one dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.head = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        """What the head reads."""
        return torch.as_tensor(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.features(x)))


MODELS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "MLP": (Mlp, (784,), 6),
    "CNN": (Cnn, (1, 28, 28), 4),
}


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A built model and its guard, every check on."""

    net: nn.Module
    model: intact.Model
    guard: Guard

    def scores(self, x: Array) -> dict[str, Array]:
        """Scores by check, a row each."""
        feeds = {self.model.inputs[0].name: x}
        seen = self.model.observe(feeds)
        return self.guard.scores(feeds, seen.outputs, seen.features)

    def seen(self, scores: Mapping[str, Array], checks: list[str]) -> Array:
        """Which rows are beyond the threshold of some check."""
        return np.any([~(scores[name] <= self.guard.contract.checks[name].threshold) for name in checks], axis=0)

    def labels(self, x: Array) -> Array:
        """What the integer model answers."""
        return np.asarray(self.model(x).argmax(axis=1))


def main() -> None:
    """Train, build, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["MLP", "CNN"], help="one model")
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    results = Results("guard", 1)
    for name, (make, shape, epochs) in MODELS.items():
        if given.only in (None, name):
            measure(name, train(make(), shape, epochs), shape, results)
    results.write(merge=given.only is not None)


def images(folder: str, part: str) -> tuple[Array, Array]:
    """Return images from 0 to 1 as rows, and labels."""
    pixels = gzip.decompress((DATA / folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DATA / folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(pixels, np.uint8).reshape(-1, 784).astype("f4") / 255, np.frombuffer(labels, np.uint8)


def train(net: nn.Module, shape: tuple[int, ...], epochs: int) -> nn.Module:
    """Train on all but the last images."""
    x, y = images("fashion_mnist", "train")
    inputs, labels = torch.tensor(x[:-HELD].reshape(-1, *shape)), torch.tensor(y[:-HELD].astype("i8"))
    steps = epochs * (len(inputs) // 128)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs) - 127, 128):
            chosen = order[start : start + 128]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def measure(name: str, net: nn.Module, shape: tuple[int, ...], results: Results) -> None:
    """Measure everything on one model."""
    held = images("fashion_mnist", "train")[0][-HELD:].reshape(-1, *shape)
    guarded = built(name, net, held[:CALIBRATION], results)
    x, y = images("fashion_mnist", "t10k")
    x = x.reshape(-1, *shape)
    accuracy = float((guarded.labels(x) == y).mean())
    results.add("accuracy", model=name, accuracy=100 * accuracy, images=len(x))
    clean = guarded.scores(x)
    rates(name, guarded, clean, results)
    mnist = images("mnist", "t10k")[0].reshape(-1, *shape)
    noise = np.random.default_rng(0).random((2000, *shape), np.float32)
    for case, strangers in (("MNIST", mnist), ("noise", noise)):
        detection(name, case, guarded, clean, guarded.scores(strangers), results)
    right = np.flatnonzero(guarded.labels(x) == y)[: ATTACKED[name]]
    attacked(name, guarded, held, x[right], y[right], clean, results)
    probed(name, guarded, x, results)
    timed(name, guarded, x, results)


def built(name: str, net: nn.Module, calibration: Array, results: Results) -> Guarded:
    """Build with and without a guard, and open the former."""
    spec = intact.Spec(model=net, inputs=calibration[:2], calibration=calibration, name=name)
    target, sizes, seconds = work("guard") / f"{name}.intact", {}, {}
    for guard in (False, True, False, True):
        remove(target)
        start = time.perf_counter()
        made = intact.build(spec, out=target, guard=guard, engines=["onnxruntime"], threads=1, revisions=False)
        seconds.setdefault(guard, []).append(time.perf_counter() - start)
        sizes[guard] = made.size_bytes
    results.add(
        "build",
        model=name,
        bytes_without=sizes[False],
        bytes_with=sizes[True],
        seconds_without=min(seconds[False]),
        seconds_with=min(seconds[True]),
    )
    model = intact.open(target, allow_unsigned=True, guard=True, engines=["onnxruntime"], threads=1, revisions=False)
    assert model.guard is not None
    return Guarded(net=net, model=model, guard=Guard(model.guard, {"squeeze": "flag"}, run=model.run))


def remove(target: Path) -> None:
    """Remove an artifact of an earlier run."""
    for path in target.glob("*"):
        path.unlink()
    if target.exists():
        target.rmdir()


def learned(guarded: Guarded) -> list[str]:
    """Checks with a threshold that was learned."""
    return [name for name, each in guarded.guard.contract.checks.items() if each.fpr is not None]


def rates(name: str, guarded: Guarded, clean: Mapping[str, Array], results: Results) -> None:
    """How often each check flags good images, against what its threshold promises."""
    for check in learned(guarded):
        promised = guarded.guard.contract.checks[check].fpr
        found = float(guarded.seen(clean, [check]).mean())
        results.add("false alarms", model=name, case=check, promised=promised, found=found, images=len(clean[check]))
    for case, checks in together(guarded).items():
        found = float(guarded.seen(clean, checks).mean())
        results.add("false alarms", model=name, case=case, promised=None, found=found, images=len(clean["range"]))


def together(guarded: Guarded) -> dict[str, list[str]]:
    """Sets of checks: those that are on by default, and all."""
    every = learned(guarded)
    return {"default checks": [check for check in every if check != "squeeze"], "all checks": every}


def detection(
    name: str, case: str, guarded: Guarded, clean: Mapping[str, Array], other: Mapping[str, Array], results: Results
) -> None:
    """AUROC of every check, and how many rows its threshold finds."""
    for check in learned(guarded):
        found = float(guarded.seen(other, [check]).mean())
        results.add(
            "detection", model=name, case=f"{case}: {check}", auroc=auroc(clean[check], other[check]), found=found
        )
    for which, checks in together(guarded).items():
        found = float(guarded.seen(other, checks).mean())
        results.add("detection", model=name, case=f"{case}: {which}", auroc=None, found=found)


def auroc(good: Array, bad: Array) -> float:
    """Probability that a bad row scores above a good one."""
    labels = np.concatenate([np.zeros(len(good)), np.ones(len(bad))])
    scores = np.nan_to_num(np.concatenate([good, bad]), nan=1e30, posinf=1e30)
    return float(roc_auc_score(labels, scores))


def attacked(
    name: str, guarded: Guarded, held: Array, x: Array, y: Array, clean: Mapping[str, Array], results: Results
) -> None:
    """Attacks that do not know the guard, and one that does."""
    for epsilon in EPSILONS:
        attacks = {
            "FGSM": lambda e: fgsm(guarded.net, x, y, e),
            "PGD": lambda e: pgd(guarded.net, x, y, e),
        }
        for attack, make in attacks.items():
            judge(name, f"{attack} {epsilon}", guarded, make(epsilon), y, clean, results)
        knowledge = Knowledge.of(guarded.net, guarded.model, held)
        adaptive = Attacker(net=guarded.net, knowledge=knowledge, guard=guarded.guard).attack(x, y, epsilon)
        judge(name, f"adaptive {epsilon}", guarded, adaptive, y, clean, results)


def judge(
    name: str, case: str, guarded: Guarded, made: Array, y: Array, clean: Mapping[str, Array], results: Results
) -> None:
    """Of the attacked images that fool the integer model, how many are seen."""
    fooled = guarded.labels(made) != y
    results.add("attack", model=name, case=case, fooled=float(fooled.mean()), images=len(made))
    if fooled.sum() >= 10:
        scores = guarded.scores(made[fooled])
        detection(name, case, guarded, clean, scores, results)
        for which, checks in together(guarded).items():
            unseen = float((~guarded.seen(scores, checks)).sum() / len(made))
            results.add("attack", model=name, case=f"{case}, unseen by {which}", fooled=unseen, images=len(made))


def probed(name: str, guarded: Guarded, x: Array, results: Results) -> None:
    """How many subjects of each kind set off the alarm, and W where it was least."""
    random = np.random.default_rng(1)
    kinds: dict[str, Callable[[], Array]] = {
        "natural": lambda: x[random.choice(len(x), QUERIES, replace=False)],
        "natural, repeated": lambda: x[random.choice(QUERIES // 4, QUERIES)],
        "copying (JbDA)": lambda: augmented(guarded, x[random.choice(len(x), 100, replace=False)], random),
        "noise": lambda: random.random((QUERIES, *x.shape[1:]), np.float32),
        "along a line": lambda: between(*x[random.choice(len(x), 2, replace=False)]),
        "small steps": lambda: np.clip(
            x[random.integers(len(x))] + random.normal(0, 0.02, (QUERIES, *x.shape[1:])).cumsum(0), 0, 1
        ).astype("f4"),
    }
    for kind, draw in kinds.items():
        probing, alarms, least = Probing(), 0, []
        for subject in range(SUBJECTS):
            queries = draw()
            feeds = {guarded.model.inputs[0].name: queries}
            seen = guarded.model.observe(feeds)
            embedding = guarded.guard.embedding(feeds, seen.outputs, seen.features)
            assert embedding is not None
            labels = next(iter(seen.outputs.values())).argmax(axis=1)
            found = [
                probing.observe(str(subject), embedding[i : i + 1], labels[i : i + 1]) for i in range(len(queries))
            ]
            alarms += any(each.alarm for each in found)
            least.append(min((each.statistic for each in found if each.statistic is not None), default=1.0))
        results.add(
            "probing",
            model=name,
            case=kind,
            subjects=SUBJECTS,
            queries=len(queries),
            alarms=alarms,
            least=float(np.median(least)),
            smallest=float(min(least)),
        )


def augmented(guarded: Guarded, seeds: Array, random: np.random.Generator) -> Array:
    """Jacobian-based augmentation: seeds, and steps from them along the sign of the gradient (Papernot et al. 2017)."""
    grown = seeds
    while len(grown) < QUERIES:
        inputs = torch.tensor(grown, requires_grad=True)
        outputs = guarded.net(inputs)
        outputs.gather(1, torch.tensor(guarded.labels(grown))[:, None]).sum().backward()
        assert inputs.grad is not None
        grown = np.concatenate([grown, np.clip(grown + 0.1 * inputs.grad.sign().numpy(), 0, 1)])
    return np.concatenate([seeds, grown[len(seeds) :][random.permutation(len(grown) - len(seeds))]])[:QUERIES]


def between(start: Array, end: Array) -> Array:
    """Steps from one image to another."""
    share = np.linspace(0, 1, QUERIES, dtype=np.float32).reshape(-1, *(1,) * start.ndim)
    return np.asarray(start + share * (end - start), np.float32)


def timed(name: str, guarded: Guarded, x: Array, results: Results) -> None:
    """Microseconds of processor time a row: each check, all by default, and the model with and without the tap."""
    contract, row = guarded.guard.contract, {guarded.model.inputs[0].name: x[:1]}
    seen = guarded.model.observe(row)

    def cost(guard: Guard) -> float:
        return clocked(lambda: (guard.inputs(row), guard.outputs(row, seen.outputs, seen.features)))

    off = dict.fromkeys(contract.checks, "off")
    nothing = cost(Guard(contract, off))
    for check in contract.checks:
        if check != "squeeze":
            spent = cost(Guard(contract, {**off, check: "flag"})) - nothing
            results.add("cost", model=name, case=check, microseconds=spent)
    results.add("cost", model=name, case="default checks", microseconds=cost(Guard(contract)))
    plain = intact.open(
        work("guard") / f"{name}.intact",
        allow_unsigned=True,
        engines=["onnxruntime"],
        threads=1,
        revisions=False,
    )
    times: dict[str, list[float]] = {"model": [], "model, tapped": []}
    for _ in range(5):
        times["model"].append(clocked(lambda: plain.session.run(row)))
        times["model, tapped"].append(clocked(lambda: guarded.model.session.observe(row)))
    for case, found in times.items():
        results.add("cost", model=name, case=case, microseconds=min(found))


def clocked(call: Callable[[], object]) -> float:
    """Microseconds of processor time a call: the least of five runs."""
    found = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(REPEATS // 5):
            call()
        found.append((time.process_time() - start) / (REPEATS // 5))
    return 1e6 * min(found)


if __name__ == "__main__":
    main()
