"""The documentation is true: its commands run, its output is what is printed, its reference is what the code says.

A fence says what it is for: `file=NAME` writes the block to a file, `run` runs it, `exit=N` is the exit code it must
have. A block `text output` behind it is compared with what was printed, numbers aside.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import intact
from intact.cli import app, demo
from intact.compress.recipe import from_toml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
REFERENCE = DOCS / "reference"
TOUR = (
    "tutorials/pytorch-to-sealed",
    "how-to/over-budget",
    "how-to/serve-from-python",
    "how-to/policy",
    "how-to/scrub",
    "how-to/guard",
    "how-to/grants",
    "how-to/serve",
    "how-to/recipients",
    "how-to/sign",
)
"""Pages that go on where the one before ended."""
FOLDERS = "src|docs|tests|examples|benchmarks|deploy"

NET = """
import numpy as np
from onnx import parser

x = np.random.default_rng(0).normal(size=(300, 3, 8, 8)).astype("f4")
text = lambda *shape: ", ".join(map(str, np.random.default_rng(1).normal(size=shape).ravel()))
net = parser.parse_model(f'''<ir_version: 10, opset_import: ["": 21]>
    g (float[n, 3, 8, 8] x) => (float[n, 4] y)
    <float[8, 3, 3, 3] conv = {{{text(8, 3, 3, 3)}}}, float[4, 8] fc = {{{text(4, 8)}}}>
    {{ a = Conv(x, conv) b = GlobalMaxPool(a) f = Flatten(b) y = Gemm<transB = 1>(f, fc) }}''')
"""
"""A float model and inputs for it, as a Python program."""

README_BEGINS = f"""{NET}
want = np.arange(300) % 4
evaluate = lambda predict: predict(x).argmax(axis=1) == want
"""
README_ENDS = """
assert (scores == spread).all() and scores.shape == (300, 4)
"""
EXTENSIONS = f"""{NET}
import intact
from intact.pipeline import read_recipe
from pathlib import Path

spec, recipe = intact.Spec(model=net, calibration=x), read_recipe(Path("recipe.toml"))
built = intact.build(spec, recipe=recipe)
assert recipe.default.method == "sum_preserving" and recipe.default.observer == "symmetric"
assert [step.operator for step in built.plan.steps].count("global_max") == 1
assert built.agreement.cosine > 0.99
named = intact.build(spec, recipe=recipe, engines=["onnx_evaluator"])
assert named.session.engine == "onnx_evaluator"
assert (named(x[:9]) == built(x[:9])).all()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    info: tuple[str, ...]
    body: str

    def option(self, name: str) -> str | None:
        """The value of `name=value` in the fence, or None."""
        return next((word.partition("=")[2] for word in self.info if word.startswith(f"{name}=")), None)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)[ ]?([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match[1],
            info=tuple(match[2].split()),
            body=match[3],
        )
        for match in found
    ]


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What a command of a page runs in: this Python first, one thread, nothing remembered from elsewhere."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cache = str(folder / ".cache")
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **more}


def run(command: list[str], folder: Path, **more: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def walk(page: Path, folder: Path) -> None:
    """Do in `folder` all that a page says."""
    printed = ""
    for block in blocks(page):
        name = block.option("file")
        if name is not None:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.body, encoding="utf-8")
        if "run" in block.info:
            command = ["bash", "-ec", block.body] if block.language == "sh" else [sys.executable, str(name)]
            code, printed = run(command, folder)
            assert code == int(block.option("exit") or 0), f"{block} ended with {code}:\n{printed}"
        if "output" in block.info:
            assert re.fullmatch(pattern(block.body), plain(printed)), f"{block} is not what was printed:\n{printed}"


def plain(text: str) -> str:
    """Output without what differs from run to run: numbers, digests, the engine that won, and where lines break."""
    text = re.sub(r"the metric (is unchanged|(drops|rises) by [\d.e-]+)", "the metric changes", text)
    text = re.sub(r"\b(onnxruntime|openvino)(/\w+)?\b", "ENGINE", text)
    text = re.sub(r"\b[0-9a-f]{16,}\b|-?\d[\d,.]*(e-?\d+)?", "#", text)
    return " ".join(text.split())


def pattern(text: str) -> str:
    """A pattern for the output a page shows, in which "..." is anything."""
    return re.escape(plain(text)).replace(r"\.\.\.", ".*")


# ---- what runs


def test_the_tutorial_runs_and_what_follows_it(tmp_path: Path) -> None:
    for name in TOUR:
        walk(DOCS / f"{name}.md", tmp_path)


def test_the_page_on_replicas_runs(tmp_path: Path) -> None:
    walk(DOCS / "how-to" / "beyond-one-machine.md", tmp_path)


def test_every_page_with_something_to_run_is_run() -> None:
    known = {ROOT / "README.md", *(DOCS / f"{name}.md" for name in TOUR)}
    known |= {DOCS / "how-to" / f"{name}.md" for name in ("beyond-one-machine", "transformers", "extend")}
    assert {block.page for block in ALL_BLOCKS if "run" in block.info or "output" in block.info} <= known


# ---- what is shown


def test_make_targets_named_are_there() -> None:
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {target for page in PAGES for target in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test", "check"} <= named
    assert named <= set(rules)


def test_extras_named_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = re.findall(r"pip install .*?\[([\w,]+)\]", "\n".join(page.read_text() for page in PAGES))
    assert found
    assert {extra for each in found for extra in each.split(",")} <= set(extras)


def test_the_demos_output_is_the_demos() -> None:
    (shown,) = (block for block in blocks(ROOT / "README.md") if "demo" in block.info)
    source = inspect.getsource(demo)
    for line in shown.body.splitlines():
        label = line.partition("  ")[0] if "  " in line else line.split(":")[0]
        assert label in source, f"the demo prints no line that begins with '{label}'"


@pytest.mark.parametrize("block", [b for b in ALL_BLOCKS if b.language == "toml"], ids=str)
def test_recipes_shown_are_recipes(block: Block) -> None:
    from_toml(block.body, where=str(block))


@pytest.mark.parametrize(
    "block", [b for b in ALL_BLOCKS if b.language == "python" and b.page.parent != REFERENCE], ids=str
)
def test_python_shown_is_python_and_its_names_exist(block: Block) -> None:
    compile(block.body, str(block), "exec")
    for name in re.findall(r"\bintact\.([A-Za-z]\w*)\(", block.body):
        assert hasattr(intact, name), f"{block}: intact has no {name}"


def test_the_readme_has_a_place_for_every_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("resnet20", "minilm", "opening"):
        assert re.search(rf"^<!-- table:{name} -->$.*?^<!-- /table:{name} -->$", text, re.MULTILINE | re.DOTALL), name


# ---- the reference


def commands(command: Any, name: str = "intact") -> Iterator[tuple[str, Any]]:
    """Every command of the tree by its full name, groups included."""
    yield name, command
    for child, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {child}")


COMMANDS: Mapping[str, Any] = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command, text = COMMANDS[name], (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert command.help, f"'{name}' says nothing of itself"
    if hasattr(command, "commands"):
        assert all(f"## {name} {child}" in text for child in command.commands)
        return
    section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert section, f"'{name}' is not in the reference"
    for parameter in command.params:
        assert parameter.help, f"'{name}' does not say what {parameter.opts[0]} does"
        for option in (*parameter.opts, *parameter.secondary_opts):
            shown = option.upper() if parameter.param_type_name == "argument" else option
            assert re.search(rf"`{re.escape(shown)}[ `]", section), f"'{name}' has {shown}, the reference has not"


def test_the_reference_is_what_the_code_says() -> None:
    code, printed = run([sys.executable, "docs/generate_reference.py", "--check"], ROOT)
    assert code == 0, printed


def test_a_stale_reference_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "reference")
    page = tmp_path / "reference" / "cli.md"
    page.write_text(page.read_text(encoding="utf-8").replace("--max-drop", "--most-drop"), encoding="utf-8")
    check = [sys.executable, "docs/generate_reference.py", "--check", "--out", str(tmp_path / "reference")]
    code, printed = run(check, ROOT)
    assert code == 1
    assert "cli.md" in printed
    assert "api.md" not in printed


# ---- links, names, form


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosting platforms make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page))):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"'{link}' leads nowhere"
        assert not anchor or anchor in anchors(target), f"'{link}' names no heading of its page"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_exist(page: Path) -> None:
    text = re.sub(r"^```.*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name in re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]*[\w/*]", text):
        assert list(ROOT.glob(name)), f"there is no '{name}'"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_no_machine_and_nobody(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<!\w)/(work|tmp|home|root|Users)/", text), "a path of some machine"
    assert not re.search(r"[\w.]+@[\w-]+\.\w+", text), "somebody's address"


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("*.md")), ids=lambda page: page.name)
def test_decisions_have_their_form(page: Path) -> None:
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(page.name[:4])}. ")
    headings = re.findall(r"^## (\w+)", text, re.MULTILINE)
    assert [heading.removesuffix("s") for heading in headings] == ["Context", "Decision", "Consequence"]


def test_pages_are_reachable_from_the_index() -> None:
    linked = re.findall(r"\]\(([^)#\s]+)\)", prose(DOCS / "index.md"))
    reached = {(DOCS / link).resolve() for link in linked} | {DOCS / "index.md"}
    assert {page for page in PAGES if DOCS in page.parents} <= reached


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"| {version.rpartition('.')[0]}.x | yes |" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


# ---- what else runs, apart from the tutorial so that two workers share the time


def test_the_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    walk(ROOT / "README.md", tmp_path)
    script = tmp_path / "readme.py"
    script.write_text(README_BEGINS + script.read_text(encoding="utf-8") + README_ENDS, encoding="utf-8")
    code, printed = run([sys.executable, "readme.py"], tmp_path)
    assert code == 0, printed


def test_the_page_on_transformers_runs(tmp_path: Path) -> None:
    walk(DOCS / "how-to" / "transformers.md", tmp_path)


def test_the_page_on_extensions_shows_members_that_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src" / "intact", tmp_path / "intact", ignore=shutil.ignore_patterns("__pycache__"))
    walk(DOCS / "how-to" / "extend.md", tmp_path)
    (tmp_path / "use.py").write_text(EXTENSIONS, encoding="utf-8")
    code, printed = run([sys.executable, "use.py"], tmp_path)
    assert code == 0, printed
    contract = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "p256 or every_file"]
    code, printed = run(
        [*contract, str(ROOT / "tests/contract/test_recipients.py")], tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert code == 0, printed
    assert "test_unwrap_undoes_wrap[p256] PASSED" in printed
