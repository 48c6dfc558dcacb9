"""Tables in Markdown, each from the result lines of one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from results import Record, pick, read

DASH = "–"
DISTURBED = 0.1
"""Share of the machine from which on a reader should know that it was not ours alone."""
ENGINES = {"onnxruntime": "onnxruntime", "openvino": "OpenVINO", "reference": "the definition"}

Row = Sequence[str]


def lines(name: str, folder: Path) -> list[Record]:
    """Return the result lines of a benchmark.

    Raises:
        LookupError: There are none.
    """
    records = read(name, folder)
    if not records:
        raise LookupError(f"{name}.jsonl")
    return records


def markdown(head: Row, rows: Iterable[Row], note: str) -> str:
    """Return a table, numbers to the right, with a line below it."""
    ruler = ["---", *("---:" for _ in head[1:])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))
    return f"{table}\n\n{note}"


def made_with(records: Sequence[Record], packages: Sequence[str]) -> str:
    """Return on what a benchmark ran, with what, at which commit, and whether the machine was left alone."""
    first = records[0]
    host, versions = first["host"], first["versions"]
    vnni = ", AVX-512 VNNI" if "avx512_vnni" in host["features"] else ""
    disturbed = max((record.get("others") or 0.0 for record in records), default=0.0)
    said = [
        f"{host['cpu']}, {host['cores']} cores{vnni}",
        f"{first['threads']} threads" if first["threads"] else "",
        ", ".join(f"{name} {versions[name]}" for name in packages if name in versions),
        f"commit {first['commit'][:7]}{' with changes' if first['changed'] else ''}" if first["commit"] else "",
        f"other processes took up to {disturbed:.0%} of the machine" if disturbed > DISTURBED else "",
    ]
    return f"<sub>{'; '.join(text for text in said if text)}.</sub>"


def only(records: Iterable[Record], **wanted: object) -> Record:
    """Return the one record that has these values.

    Raises:
        LookupError: There is none.
    """
    found = pick(records, **wanted)
    if not found:
        raise LookupError(" ".join(str(value) for value in wanted.values()))
    return found[0]


def title(candidate: str) -> str:
    """Return the name of a candidate as tables show it: ours in bold."""
    if not candidate.startswith("intact"):
        return candidate
    parts = [ENGINES.get(part, part) for part in candidate.split(", ")[1:]]
    return f"**Intact**, {', '.join(parts)}"


def megabytes(record: Record) -> str:
    """Return a size in MB."""
    size = record["size_bytes"] / 1e6
    return f"{size:.2f}" if size < 10 else f"{size:.1f}"


def interval(record: Record) -> str:
    """Return a ratio with its interval."""
    return f"{record['ratio']:.2f} ({record['low']:.2f}{DASH}{record['high']:.2f})"


def milliseconds(record: Record) -> str:
    """Return the median; in bold for the engine that Intact picks by itself."""
    value = record["median_ms"]
    text = f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return f"**{text}**" if record.get("chosen") else text


def resnet20_accuracy(folder: Path) -> str:
    """Accuracy, agreement, identity and size of ResNet-20."""
    records = lines("resnet20", folder)
    sizes = {record["model"]: megabytes(record) for record in pick(records, kind="size")}
    weigh = {"torch float": sizes["float"], "onnxruntime U8S8": sizes["onnxruntime U8S8"], "OpenVINO U8S8": "same file"}
    rows = []
    for record in pick(records, kind="accuracy"):
        name = record["model"]
        if name in ("onnxruntime float", "OpenVINO float"):
            continue
        ours = name.startswith("intact")
        agreement = DASH if name == "torch float" else f"{record['agreement']:.2f}"
        size = sizes["intact"] if ours else weigh.get(name, "same file")
        rows.append([title(name), f"{record['accuracy']:.2f}", agreement, differing(records, name), size])
    order = sorted(rows, key=lambda row: (row[0] != "torch float", not row[0].startswith("**")))
    images = records[0].get("images", 10000)
    head = ["", "accuracy, %", "agrees with float, %", "values that differ¹", "graph + weights, MB"]
    peer = only(records, kind="identity", engine="onnxruntime U8S8")
    note = (
        f"¹ of {peer['values']:,} outputs on all {images:,} test images: ours from the definition in int64 arithmetic, "
        "the peer's between its two engines.  \n"
    )
    return markdown(head, order, note + made_with(records, ("onnxruntime", "openvino", "torch")))


def differing(records: Sequence[Record], name: str) -> str:
    """Return in how many outputs an engine differs from the one it is held against."""
    key = name.removeprefix("intact, ")
    found = pick(records, kind="identity", engine=key) or pick(records, kind="identity", other=name)
    return f"{found[0]['differing']:,}" if found and key != "onnxruntime U8S8" else DASH


def latency(benchmark: str, peers: Mapping[str, str], folder: Path) -> str:
    """Median times of a benchmark by case, and the ratio of Intact's own choice to each peer."""
    records = lines(benchmark, folder)
    times = pick(records, kind="latency")
    cases = list(dict.fromkeys(record["case"] for record in times))
    rows = [
        [title(name), *(milliseconds(only(times, case=case, candidate=name)) for case in cases)]
        for name in dict.fromkeys(record["candidate"] for record in times)
    ]
    chosen = pick(records, kind="ratio", chosen=True)
    for peer, text in peers.items():
        found = [[r for r in chosen if r["case"] == case and peer in (r["peer"], "")] for case in cases]
        if all(found):
            rows.append([text, *(interval(each[0]) for each in found)])
    note = "In bold: the engine that Intact picks by itself. Ratios: median and bootstrap 95 % interval.  \n"
    packages = ("onnxruntime", "openvino", "torch")
    return markdown(["ms, median", *cases], rows, note + made_with(records, packages))


def minilm_quality(folder: Path) -> str:
    """Scores, size and batch isolation of MiniLM."""
    records = lines("minilm", folder)
    rows = []
    for record in pick(records, kind="quality"):
        name = record["model"]
        owner = ", ".join(name.split(", ")[:2]) if name.startswith("intact") else name
        size = only(records, kind="size", model="float" if "float" in name else owner)
        moved = only(records, kind="isolation", model=name)["alone_or_not"]
        rows.append(
            [
                title(name),
                megabytes(size),
                f"{record['spearman']:.2f}",
                f"{record['mean_cosine']:.4f}",
                f"{record['worst_cosine']:.3f}",
                f"{moved:.1g}" if moved < 1e-3 else f"**{moved:.3f}**",
            ]
        )
    head = ["", "graph + weights, MB", "STS-B Spearman", "cosine to float, mean", "worst", "moved by its batch¹"]
    note = (
        "¹ largest change of an embedding's element when outlier rows come in the same batch; float sums in another "
        "order give 1e-8 to 1e-7.  \n"
    )
    return markdown(head, rows, note + made_with(records, ("onnxruntime", "openvino", "torch")))


def opening(folder: Path) -> str:
    """Times of opening MiniLM."""
    records = lines("opening", folder)
    times = pick(records, kind="opening")
    cases = list(dict.fromkeys(record["case"] for record in times))
    names = list(dict.fromkeys(record["candidate"] for record in times))
    rows = [[title(name), *(milliseconds(only(times, case=case, candidate=name)) for case in cases)] for name in names]
    sealed, *others = names
    for other in others:
        found = [only(records, kind="ratio", case=case, ours=sealed, peer=other) for case in cases]
        rows.append([f"ratio, sealed to {other.removeprefix('intact, ')}", *(interval(record) for record in found)])
    note = "Intact's times include the self-test on the engine; page cache warm.  \n"
    return markdown(["ms, median", *cases], rows, note + made_with(records, ("onnxruntime", "cryptography")))


def sealed_open(folder: Path) -> str:
    """Times of opening sealed weights, and what it takes of memory beyond them."""
    records = lines("sealed_open", folder)
    times = pick(records, kind="opening")
    cases = list(dict.fromkeys(record["case"] for record in times))
    names = list(dict.fromkeys(record["candidate"] for record in times))
    rows = [[title(name), *(milliseconds(only(times, case=case, candidate=name)) for case in cases)] for name in names]
    for peer in dict.fromkeys(record["peer"] for record in pick(records, kind="ratio")):
        found = [only(records, kind="ratio", case=case, peer=peer) for case in cases]
        wanted = f"at most {found[0]['target']:g} wanted"
        rows.append([f"ratio to {peer}, {wanted}", *(interval(record) for record in found)])
    beyond = [only(records, kind="memory", case=case)["beyond_weights_bytes"] / 1e6 for case in cases]
    rows.append(["Intact's peak memory beyond the weights, MB", *(f"{size:.0f}" for size in beyond)])
    note = "All leave arrays in private memory but what is mapped and what only verifies; page cache warm.  \n"
    return markdown(["ms, median", *cases], rows, note + made_with(records, ("cryptography",)))


def import_time(folder: Path) -> str:
    """Times of imports and of the command line."""
    records = lines("import_time", folder)
    timed = [record for kind in ("import", "process") for record in pick(records, kind=kind)]
    rows = [[f"`{record['candidate']}`", milliseconds(record)] for record in timed]
    return markdown(["in a fresh process", "ms, median"], rows, made_with(records, ()))


def resnet20(folder: Path) -> str:
    """Both tables of ResNet-20."""
    times = latency("resnet20", {"": "ratio to the faster U8S8 peer"}, folder)
    return f"{resnet20_accuracy(folder)}\n\n{times}"


def minilm(folder: Path) -> str:
    """Both tables of MiniLM."""
    peers = ("onnxruntime quantize_dynamic", "NNCF + OpenVINO")
    times = latency("minilm", {peer: f"ratio to {peer}" for peer in peers}, folder)
    return f"{minilm_quality(folder)}\n\n{times}"


TABLES: Mapping[str, Callable[[Path], str]] = {
    "resnet20": resnet20,
    "minilm": minilm,
    "opening": opening,
    "sealed_open": sealed_open,
    "import": import_time,
}
