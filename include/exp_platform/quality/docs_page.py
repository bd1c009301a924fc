"""The pages of data docs as HTML: each is one file with its style in it, and loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

Row = Mapping[str, Any]
STYLE = Markup("""
:root { color-scheme: light dark; --ground: #fff; --ink: #16191d; --soft: #555f6d;
  --line: #d5d9e0; --bad: #b04300; --link: #00639c; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --ink: #e9ecf0; --soft: #a9b3bf; --line: #3a424d;
  --bad: #ff9d5c; --link: #6cbcf0; } }
body { margin: 0 auto; max-width: 72rem; padding: 1.2rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; min-width: 4rem; }
th { overflow-wrap: normal; white-space: nowrap; } td:first-child { min-width: 11rem; }
th, .soft { color: var(--soft); } .failed { color: var(--bad); font-weight: 650; }
""")
_PAGE = Markup(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
    "<style>{style}</style>\n</head>\n<body>\n<main>\n{up}<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
)


def suite_page(table: str, about: str, rules: Iterable[Sequence[str]]) -> str:
    """The rules of one table: rule, severity, and where it is checked."""
    told = Markup("<p>{}</p>").format(about)
    return _page(table, told + _table(("Rule", "Severity", "Checked by"), rules), "../../index.html")


def experiment_page(experiment_id: str, tables: Mapping[str, Sequence[Row]]) -> str:
    """The latest audit of each table of one experiment, the broken rules first."""
    parts = [_audit(table, rows) for table, rows in tables.items()]
    return _page(experiment_id, Markup("\n").join(parts) or Markup("<p>No audit yet.</p>"), "../index.html")


def index_page(experiments: Iterable[Row], suites: Iterable[tuple[str, str, int]]) -> str:
    """Every experiment with its latest audits, then every suite."""
    audits = [
        (
            _link(f"validations/{row['experiment_id']}.html", row["experiment_id"]),
            f"{row['tables']:,}",
            f"{row['rules']:,}",
            _count(row["critical"], "broken"),
            _count(row["warnings"], "warns"),
            row["at"],
        )
        for row in experiments
    ]
    rules = [(_link(path, table), f"{count}") for table, path, count in suites]
    heads = ("Experiment", "Tables", "Rules", "Critical", "Warnings", "Latest audit (UTC)")
    body = Markup("<h2>Latest audits</h2>\n{}\n<h2>Suites</h2>\n{}").format(
        _table(heads, audits) if audits else Markup("<p>No run has checked anything yet.</p>"),
        _table(("Table", "Rules"), rules),
    )
    return _page("Data docs: what the contracts check, and how the latest checks went", body)


def _audit(table: str, rows: Sequence[Row]) -> Markup:
    ordered = sorted(rows, key=lambda r: (r["success"], r["severity"] != "critical", r["expectation"]))
    lines = [
        (
            row["expectation"],
            row["severity"],
            "holds" if row["success"] else Markup('<span class="failed">broken</span>'),
            "" if row["unexpected_count"] is None else f"{row['unexpected_count']:,}",
            "" if row["unexpected_percent"] is None else f"{row['unexpected_percent']:.4g}%",
            "; ".join(part for part in (row["detail"] or "", ", ".join(row["sample"] or [])) if part),
        )
        for row in ordered
    ]
    suite = f"../expectations/{table.replace('.', '/')}.html"
    first = rows[0]
    return Markup('<h2>{}</h2>\n<p class="soft">Stage {}, run {}, {} UTC.</p>\n{}').format(
        _link(suite, table),
        first["stage"],
        first["run_id"],
        moment(first["at"]),
        _table(("Rule", "Severity", "Verdict", "Rows", "Share", "What was found"), lines),
    )


def moment(value: datetime) -> str:
    """A time to the minute."""
    return f"{value:%Y-%m-%d %H:%M}"


def _count(number: int, word: str) -> Any:
    return Markup('<span class="failed">{} {}</span>').format(number, word) if number else "all hold"


def _link(path: str, text: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(path, text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(text) for text in heads)
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>\n<thead><tr>{}</tr></thead>\n'
        "<tbody>\n{}\n</tbody></table></div>"
    ).format(", ".join(heads), head, body)


def _page(title: str, body: Markup, up: str = "") -> str:
    back = Markup('<p><a href="{}">Data docs</a></p>\n').format(up) if up else ""
    return str(_PAGE.format(title=escape(title), style=STYLE, up=back, body=body))
