"""Text from configuration or data made harmless: nothing in it can turn the text around it, or break its line."""

from __future__ import annotations

import re
import unicodedata

# Marks that turn the direction of the text after them; letters of right-to-left scripts are left as they are.
DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_HIDDEN = re.compile(f"[{DIRECTION}\ufeff\u2028\u2029]")
_SPACE = re.compile(r"\s+")


def clean(text: object) -> str:
    """One line of text; marks of direction and control characters are shown by their code.

    >>> clean("a\\u202eb"), clean("two\\nlines")
    ('a\\\\u202eb', 'two lines')
    """
    one_line = _SPACE.sub(" ", str(text)).strip()
    return "".join(_shown(character) for character in one_line)


def _shown(character: str) -> str:
    if _HIDDEN.match(character) or unicodedata.category(character) in ("Cc", "Cs"):
        return f"\\u{ord(character):04x}"
    return character


def markdown(text: object) -> str:
    """Text that Markdown shows as it is."""
    escaped = re.sub(r"([\\`*{}\[\]|#~])", r"\\\1", clean(text))
    escaped = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: object) -> str:
    """Text between backticks of Markdown, which knows no escape: a backtick becomes an apostrophe."""
    return "`" + clean(text).replace("`", "'").replace("|", "\\|") + "`"


def json_safe(text: str) -> str:
    """JSON in which marks of direction are written as escapes, so that no viewer turns the text around."""
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
