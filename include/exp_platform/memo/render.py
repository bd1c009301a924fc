"""A memo's content as HTML, Markdown and JSON: all three from the same records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exp_platform.memo.blocks import Memo, to_records
from exp_platform.memo.html import page
from exp_platform.memo.markdown import document
from exp_platform.memo.text import json_safe


def to_json(content: Mapping[str, Any]) -> str:
    """The content as JSON with sorted keys and without NaN."""
    return json_safe(json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)) + "\n"


def to_markdown(content: Mapping[str, Any]) -> str:
    """The content as Markdown, for a repository, a mail or a terminal."""
    return document(records(content))


def to_html(content: Mapping[str, Any]) -> str:
    """The content as one HTML file that includes its style and pictures."""
    return page(records(content))


def records(content: Mapping[str, Any]) -> Memo:
    """The records in the content, which is plain data."""
    memo: Memo = to_records(content["memo"])
    return memo
