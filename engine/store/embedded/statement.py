"""What a statement is, from its words alone: enough to route it, never to judge it.

ClickHouse parses every statement itself. The HTTP protocol needs three things before that:
where the data of an ``INSERT`` begins, which format the answer has, and the kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^'\\]|\\.|'')*')
    |(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9][A-Za-z0-9_.]*)
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_DATA_START = re.compile(rb"[ \t\r\f\v]*;?[ \t\r\f\v]*\n?")
_READ_OUTSIDE = re.compile(
    r"(?<![A-Za-z0-9_])(file|python|eval|identifier)(?![A-Za-z0-9_])", re.IGNORECASE
)
_NAME_QUOTES = ("`", '"', "\u201c", "\u201d")
_NO_INLINE_DATA = frozenset({b"SELECT", b"WITH", b"INFILE", b"WATCH"})


@dataclass(frozen=True, slots=True)
class Insert:
    """An ``INSERT`` whose rows follow as data.

    Parameters
    ----------
    statement
        The statement up to its ``FORMAT`` or ``VALUES``, as text.
    format
        Format of the data (``Values`` for ``VALUES``).
    data_offset
        Where in the given bytes the data begins.
    """

    statement: str
    format: str
    data_offset: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What the words of a statement say.

    Parameters
    ----------
    verb
        Its first word in capitals; empty where it has none.
    format
        The word after its last outer ``FORMAT``; None where it has none.
    touches_files
        Whether it says ``INTO OUTFILE`` or ``FROM INFILE``.
    temporary
        Whether it creates a temporary table.
    """

    verb: str
    format: str | None
    touches_files: bool
    temporary: bool


def _outer_tokens(text: bytes) -> Iterator[tuple[str, bytes, int, int]]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind != "skip" and depth == 0:
            yield kind, match.group(), match.start(), match.end()


def find_insert(text: bytes) -> Insert | None:
    r"""Find where an ``INSERT``'s data begins; None where `text` is no insert with data.

    Parameters
    ----------
    text
        The beginning of a request: the statement, and perhaps some or all of its data.

    Examples
    --------
    >>> find_insert(b"INSERT INTO t (a, b) FORMAT CSV\n1,2\n")
    Insert(statement='INSERT INTO t (a, b)', format='CSV', data_offset=32)
    >>> find_insert(b"INSERT INTO t SELECT 1") is None
    True
    """
    words = _outer_tokens(text)
    first = next(words, None)
    if first is None or first[1].upper() != b"INSERT":
        return None
    for kind, token, start, end in words:
        word = token.upper() if kind == "word" else b""
        if word in _NO_INLINE_DATA:
            return None
        if word == b"VALUES":
            return Insert(_text(text[:start]), "Values", end)
        if word == b"FORMAT":
            named = next(words, None)
            if named is None or named[0] != "word":
                return None
            gap = _DATA_START.match(text, named[3])
            return Insert(_text(text[:start]), _text(named[1]), gap.end() if gap else named[3])
    return None


def shape_of(text: bytes) -> Shape:
    r"""Read verb, format and the few dangerous words of a statement.

    Examples
    --------
    >>> shape_of(b"select 'FORMAT x' -- FORMAT y\n format JSON").format
    'JSON'
    """
    verb, form, previous = "", None, b""
    touches_files = temporary = False
    for kind, token, _, _ in _outer_tokens(text):
        word = token.upper() if kind == "word" else b""
        if word and not verb:
            verb = word.decode()
        if previous == b"FORMAT" and word:
            form = token.decode()
        touches_files |= (previous, word) in {(b"INTO", b"OUTFILE"), (b"FROM", b"INFILE")}
        temporary |= (previous, word) == (b"CREATE", b"TEMPORARY")
        previous = word
    return Shape(verb, form, touches_files, temporary)


def reads_outside(text: str) -> bool:
    r"""Whether a statement may name a function that reads files or this process's objects.

    chDB offers them even where ``readonly`` is set. The words count wherever they stand, even in
    a text literal or a comment: whoever could pretend to be in one would read any file. So does
    an escape where names are quoted, for it may spell anything. Values bound as ``{name:Type}``
    are not part of the statement.

    Examples
    --------
    >>> reads_outside("SELECT lower(file('/etc/hostname'))")
    True
    >>> reads_outside("SELECT title FROM texts WHERE title LIKE {pattern:String}")
    False
    """
    quotes_names = any(quote in text for quote in _NAME_QUOTES)
    return _READ_OUTSIDE.search(text) is not None or (quotes_names and "\\" in text)


def _text(part: bytes) -> str:
    return part.decode("utf-8", "replace").strip()
