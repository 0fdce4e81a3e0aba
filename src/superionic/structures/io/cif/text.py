"""The syntax of CIF 1.1: from text to data blocks of named columns, each value with its line.

Grammar: Hall, Allen & Brown, Acta Cryst. A47, 655 (1991), and the CIF 1.1 specification of the IUCr. Nothing in the
text is evaluated, and the time is linear in its length. Only names that describe a crystal are stored.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

from superionic.errors import StructureError
from superionic.foreign import shown

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_READ = ("_cell_", "_atom_site_", "_atom_type_", "_symmetry_", "_space_group_", "_chemical_formula_sum")
_SKIPPED = ("_atom_site_aniso_", "_atom_site_moment_", "_symmetry_equiv_pos_site_id")
_SIMILAR = ("_atom", "_sym", "_space", "_cell")
_MAX_NAMES = 200
_MAX_VALUES = 10_000
_LONGEST_WORDS = 2048
# A quoted string ends at a quote before white space; it is bounded so that unbalanced quotes cost no quadratic time.
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<text>^;[^\n]*+\n(?:(?!;)[^\n]*+\n)*+;)
    |(?P<open>^;)
    |'(?P<single>[^\n]{0,2048}?)'(?=[ \t\n]|\Z)
    |"(?P<double>[^\n]{0,2048}?)"(?=[ \t\n]|\Z)
    |(?P<bare>[^ \t\n]+)""",
    re.VERBOSE | re.MULTILINE,
)


@dataclass
class Column:
    """The values of one name: several if it is in a loop.

    Parameters
    ----------
    values
        The text in the file, without quotes.
    lines
        Line of each value, counted from 1.
    loop
        Number of the loop that the name belongs to; None outside loops.
    """

    values: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    loop: int | None = None


@dataclass
class Block:
    """One data block: its name and its columns. Names are in lower case, with ``_`` in place of ``.``.

    Parameters
    ----------
    name
        What follows ``data_``.
    columns
        The values of the names that are read.
    other_names
        Names that begin like those of atoms or symmetry but whose values are not read.
    line
        Line of ``data_``, counted from 1.
    """

    name: str
    columns: dict[str, Column] = field(default_factory=dict)
    other_names: dict[str, None] = field(default_factory=dict)
    line: int = 1

    def value(self, *names: str) -> str | None:
        """Return the first value of the first of the names that the block has; None for ``?``, ``.`` and no value."""
        for name in names:
            column = self.columns.get(name)
            if column is not None and column.values and column.values[0].strip() not in {"?", ".", ""}:
                return column.values[0].strip()
        return None


def parse_cif(text: str, where: str) -> list[Block]:
    """Split a CIF into its data blocks.

    Parameters
    ----------
    where
        Name of the file for error messages.

    Raises
    ------
    StructureError
        If a loop has too few values, a name that matters has none, or a text has no end.
    """
    return _Parser(text.replace("\r\n", "\n").replace("\r", "\n"), where).blocks()


def block_text(text: str, name: str) -> str:
    """Return the text of the named data block of a CIF; all of it where there is none or more than one of that name."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    starts = [
        (m.start(), m.group()[5:].lower())
        for m in _TOKEN.finditer(plain)
        if m.lastgroup == "bare" and m.group()[:5].lower() == "data_"
    ]
    ends = [start for start, _ in starts[1:]] + [len(plain)]
    parts = [
        plain[start:end]
        for (start, own), end in zip(starts, ends, strict=True)
        if own == name.removeprefix("data_").lower()
    ]
    return parts[0] if len(parts) == 1 else text


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._blocks: list[Block] = []
        self._n_loops = 0
        self._newlines = [m.start() for m in re.finditer("\n", text)]
        # The state: names of the loop being read, whether its values have begun, and the name that awaits its value.
        self._names: list[tuple[str, Column | None]] = []
        self._in_loop = False
        self._filled = 0
        self._awaiting: tuple[str, int] | None = None
        self._last: tuple[str, int] | None = None

    def blocks(self) -> list[Block]:
        for match in _TOKEN.finditer(self._text):
            kind, start = match.lastgroup, match.start()
            if kind == "comment":
                continue
            if kind == "open":
                raise self._error("A text that begins with ; has no end", start, "Close it by a line with ; alone.")
            if kind == "bare":
                self._bare(match.group(), start)
            else:
                value = match.group(str(kind))
                self._value(value[1:-1].strip() if kind == "text" else value, start)
        self._close(len(self._text))
        return self._blocks

    def _bare(self, word: str, start: int) -> None:
        lowered = word[:5].lower()
        if word[0] == "_":
            self._name(word, start)
        elif lowered == "data_":
            self._close(start)
            self._blocks.append(Block(word[5:], line=self._line(start)))
        elif lowered == "loop_" and len(word) == 5:
            self._close(start)
            self._in_loop = True
        elif lowered == "save_" or word.lower() in {"stop_", "global_"}:
            self._close(start)
        else:
            self._value(word, start)

    def _name(self, word: str, start: int) -> None:
        name = word.lower().replace(".", "_")
        if self._in_loop and not self._filled:
            self._names.append((name, self._new_column(name, start, self._n_loops)))
            return
        self._close(start)
        self._awaiting = (name, start)

    def _new_column(self, name: str, start: int, loop: int | None) -> Column | None:
        if not name.startswith(_READ) or name.startswith(_SKIPPED):
            if name.startswith(_SIMILAR) and self._blocks and len(self._blocks[-1].other_names) < _MAX_NAMES:
                self._blocks[-1].other_names[name] = None
            return None
        if not self._blocks:  # some programs forget the line data_
            self._blocks.append(Block(""))
        columns = self._blocks[-1].columns
        if name in columns:
            raise self._error(f"{shown(name)} is given twice", start, "Remove one of the two.")
        columns[name] = Column(loop=loop)
        return columns[name]

    def _value(self, value: str, start: int) -> None:
        if self._in_loop and self._names:
            column = self._names[self._filled % len(self._names)][1]
            self._filled += 1
            if column is not None:
                if len(column.values) == _MAX_VALUES:
                    raise self._error(
                        f"{shown(self._names[0][0])} begins a loop of more than {_MAX_VALUES:,} rows",
                        start,
                        "Give one crystal, its unit cell only.",
                    )
                column.values.append(value)
                column.lines.append(self._line(start))
        elif self._awaiting is not None:
            name, at = self._awaiting
            column = self._new_column(name, at, None)
            if column is not None:
                column.values.append(value)
                column.lines.append(self._line(start))
            self._last, self._awaiting = (name, self._line(start)), None
        elif self._last is not None and self._last[0].startswith(_READ):
            name, line = self._last
            if line != self._line(start):
                raise self._error(
                    f"The value {shown(value)!r} has no name", start, "Put loop_ before the names of a table."
                )
            # Several words without quotes, as in `_symmetry_space_group_name_H-M P m -3 m`.
            if name in self._blocks[-1].columns:
                words = self._blocks[-1].columns[name].values
                if len(words[0]) > _LONGEST_WORDS:
                    raise self._error(f"The value of {shown(name)} is too long", start, "Give one value.")
                words[0] += f" {value}"

    def _close(self, start: int) -> None:
        """End what is being read: a loop, or a name with its value."""
        if self._in_loop and self._names and self._filled % len(self._names):
            first = self._names[0][0]
            if any(name.startswith(_READ) for name, _ in self._names):
                raise self._error(
                    f"The loop of {shown(first)} has {len(self._names)} columns but {self._filled} values; "
                    "one of its rows is not complete",
                    start,
                    "Complete its rows, and quote values with blanks.",
                )
        if self._awaiting is not None and self._awaiting[0].startswith(_READ):
            raise self._error(f"{shown(self._awaiting[0])} has no value", self._awaiting[1], "Give its value, or ?.")
        if self._in_loop:
            self._n_loops += 1
        self._names, self._in_loop, self._filled = [], False, 0
        self._awaiting = self._last = None

    def _line(self, start: int) -> int:
        return bisect_left(self._newlines, start) + 1

    def _error(self, message: str, start: int, fix: str) -> StructureError:
        return StructureError(f"{message}.", where=f"{self._where}, line {self._line(start)}", fix=fix)
