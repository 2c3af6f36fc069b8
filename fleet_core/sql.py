"""SQL lives in `.sql` files, in named blocks with a line of purpose. This reads them.

A block is

    -- name: touch_vehicle
    -- Note that a vehicle was heard of, without changing what people entered.
    INSERT ...

and ends where the next block or the file ends.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$")


class SqlFileError(ValueError):
    """A `.sql` file that breaks the block form; the text names file and line."""


@dataclass(frozen=True, slots=True)
class Block:
    """One named statement with its line of purpose."""

    name: str
    purpose: str
    statement: str


class Blocks(Mapping[str, str]):
    """The statements of one file by name."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = {block.name: block for block in blocks}

    def __getitem__(self, name: str) -> str:
        return self._blocks[name].statement

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def purpose(self, name: str) -> str:
        """Line of purpose of a block."""
        return self._blocks[name].purpose


def load(package: str, filename: str = "queries.sql") -> Blocks:
    """Read the named blocks of `filename` inside `package`."""
    return parse(files(package).joinpath(filename).read_text(encoding="utf-8"), f"{package}/{filename}")


def parse(text: str, source: str) -> Blocks:
    """Split `text` into blocks. Raises SqlFileError for a block without purpose, an empty or a doubled one."""
    blocks: list[Block] = []
    name: str | None = None
    lines: list[str] = []

    def close(line_number: int) -> None:
        if name is None:
            if any(line.strip() and not line.startswith("--") for line in lines):
                raise SqlFileError(f"{source}:{line_number}: statement before the first '-- name:' line")
            return
        purpose = [line[3:].strip() for line in lines if line.startswith("-- ")]
        statement = "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip().rstrip(";")
        if not purpose:
            raise SqlFileError(f"{source}:{line_number}: block {name} has no line of purpose")
        if not statement:
            raise SqlFileError(f"{source}:{line_number}: block {name} is empty")
        if any(block.name == name for block in blocks):
            raise SqlFileError(f"{source}:{line_number}: block {name} appears twice")
        blocks.append(Block(name, purpose[0], statement))

    number = 0
    for number, line in enumerate(text.splitlines(), start=1):
        match = _NAME.match(line)
        if match:
            close(number)
            name, lines = match.group(1), []
        else:
            lines.append(line)
    close(number)
    return Blocks(blocks)
