"""The page as HTML: one file, no script, nothing from the network."""

from __future__ import annotations

import base64
import dataclasses
import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.metric import density_percent
from tf_lottery.metric import digits
from tf_lottery.page.drawing import figure_files
from tf_lottery.page.drawing import inline_svg
from tf_lottery.page.run import listed
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.page.style import style_sheet
from tf_lottery.page.verdict import Ruling

#: Seconds after which a page of a run under way loads itself again.
REFRESH = 30
_UNDER_WAY = (
    "Under way", f" This page loads itself again every {REFRESH} seconds."
)
_NOT_FINISHED = (
    "Not finished",
    " Run the same command again to go on; it makes this page anew.",
)
# A larger one is a cloud of points, which a phone draws faster as pixels.
_MOST_SVG_BYTES = 400_000
# A longer table is folded.
_RUNS = ("run", "other_run")
_VALUES, _GAPS = ("lowest", "highest"), ("gap", "gap_low", "gap_high")
_MOST_ROWS = 16
# Of an inch of a figure, on a phone and on a desktop: text of 10 points is
# then 8 and 15 pixels high.
_LEAST_PIXELS, _MOST_PIXELS = 60, 110
# A figure of more inches stands alone, not beside another.
_BROAD = 6.0
# Such a page neither runs a script nor loads anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Page:
    """What is on the page.

    Args:
        title: its heading.
        paths: the run directories.
        state: that trainings are missing, and how many; empty if none is.
        under_way: whether more is being trained now.
        notices: what is wrong with the runs, a line each.
        rulings: the verdicts, in a word each.
        sections: the parts in order: a section, or the line that says why
            one is missing.
    """

    title: str
    paths: Sequence[str]
    state: str
    under_way: bool
    notices: Sequence[str]
    rulings: Sequence[Ruling]
    sections: Sequence[tuple[str, Section | str]]


def render(page: Page, files: Mapping[str, Mapping[str, bytes]]) -> str:
    """Returns the page; whatever it is told is escaped.

    Args:
        page: what is on it.
        files: of its figures by name, as `figure_files` returns them.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, '
        'initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        refresh_element() if page.under_way else "",
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(page.title)}</title>",
        f"<style>{style_sheet()}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#content">To the content</a>',
        '<div class="page">',
        "<header>",
        f"<h1>{escape(page.title)}</h1>",
        *(f'<p class="path">{escape(path)}</p>' for path in page.paths),
        state_element(page.state, page.under_way) if page.state else "",
        _notices(page.notices),
        _contents(page.sections),
        "</header>",
        '<main id="content">',
    ]
    for number, (title, section) in enumerate(page.sections):
        parts.append(f'<section aria-labelledby="s-{_slug(title)}">')
        parts.append(f'<h2 id="s-{_slug(title)}">{escape(title)}</h2>')
        if number == 0:
            parts.append(_rulings(page.rulings))
        if isinstance(section, str):
            parts.append(f'<div class="notice"><p>{escape(section)}</p></div>')
        else:
            parts.append(_section(section, files))
        parts.append("</section>")
    parts += [
        "</main>",
        "<footer>Figures are also PNG, SVG and PDF files, and tables CSV "
        "files with every digit, in the folder of this page.</footer>",
        "</div>",
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(part for part in parts if part)


def refresh_element() -> str:
    """Returns what makes the page of a run under way load itself again."""
    return f'<meta http-equiv="refresh" content="{REFRESH}">'


def state_element(state: str, under_way: bool) -> str:
    """Returns the notice on top of a page whose run has not finished.

    Args:
        state: how many trainings are done.
        under_way: whether more is being trained now.
    """
    word, again = _UNDER_WAY if under_way else _NOT_FINISHED
    return (
        f'<div class="notice way" role="status"><p><strong>{word}:</strong> '
        f"{escape(state)}<span>{again}</span></p></div>"
    )


def stopped(text: str) -> str:
    """Returns the page of a run under way as that of one that was stopped.

    Args:
        text: as `render` returned it.
    """
    for before, after in (
        (f"{refresh_element()}\n", ""),
        *(
            (f"{tag}{a}{end}", f"{tag}{b}{end}")
            for tag, end, a, b in zip(
                ("<strong>", "<span>"), (":</strong>", "</span></p>"),
                _UNDER_WAY, _NOT_FINISHED,
            )
        ),
    ):
        text = text.replace(before, after, 1)
    return text


def cell_text(column: str, value: Any, metric: Metric = ACCURACY) -> str:
    """Returns a value of a table as the page shows it, not escaped.

    Args:
        column: its name: fractions of weights and accuracies are shown in
            percent, what ends in `_pp` or `_gain` with its sign, `_ratio` as
            multiples.
        value: plain; None is shown as a dash.
        metric: of `Table`.

    Example:
        >>> cell_text("density", 0.1349), cell_text("steps", 12000)
        ('13.5 %', '12,000')
        >>> cell_text("dense_pp", 0.5), cell_text("loss", 0.123456)
        ('+0.50', '0.1235')
    """
    if value is None or value == "":
        return "\N{EN DASH}"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    # A training function may return a reward that is an integer.
    if isinstance(value, int) and not _is_of(metric, column):
        return f"{value:,}"
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return str(value)
    if re.search(r"_(pp|percent)$", column):
        return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
    if re.search(r"_gain(_lower|_upper)?$", column):
        return digits(value, sign=True).replace("-", "\N{MINUS SIGN}")
    if re.search(r"_ratio(_low|_high)?$", column):
        return f"{value:.2f} \N{MULTIPLICATION SIGN}"
    if _is_of(metric, column) or column in _VALUES:
        return metric.text(value).replace("-", "\N{MINUS SIGN}")
    if column in _GAPS and (metric.percent or metric.ratio):
        return f"{100 * value:.2f} %"
    if re.search(r"(^|_)(density|sparsity|share)$", column):
        return f"{density_percent(value)} %"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _is_of(metric: Metric, column: str) -> bool:
    """Whether a column has values of the metric."""
    if metric == ACCURACY:
        return ACCURACY.name in column
    # Other names, such as "stop", may be words of other columns too.
    pattern = rf"((early_stop_)?(train|test)_)?{metric.name}(_mean|_min|_max)?"
    return re.fullmatch(pattern, column) is not None


def escape(text: str) -> str:
    """Returns a text as HTML, with no line break before a percent sign.

    Args:
        text: anything, such as a name that a user has chosen.

    Example:
        >>> escape("<b> 5 %")
        '&lt;b&gt; 5&nbsp;%'
    """
    return html.escape(text).replace(" %", "&nbsp;%")


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def _notices(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f'<div class="notice" role="note"><p><strong>Please note</strong></p>'
        f"<ul>{items}</ul></div>"
    )


def _contents(sections: Sequence[tuple[str, Any]]) -> str:
    items = "".join(
        f'<li><a href="#s-{_slug(title)}">{escape(title)}</a></li>'
        for title, _ in sections
    )
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _rulings(rulings: Sequence[Ruling]) -> str:
    several = len(rulings) > 1
    parts = []
    for one in rulings:
        label = f'<p class="label">{escape(one.label)}</p>' if several else ""
        facts = "".join(
            f"<dt>{escape(what)}</dt><dd>{_unbroken(much)}</dd>"
            for what, much in one.facts
        )
        facts = f'<dl class="facts">{facts}</dl>' if facts else ""
        parts.append(
            f'<div class="ruling">{label}<p class="word {_slug(one.word)}">'
            f"{escape(one.word.capitalize())}</p>"
            f'<p class="line">{escape(one.line)}</p>{facts}</div>'
        )
    kind = "rulings several" if several else "rulings"
    bounded = [
        one.measured for one in rulings
        if any("[" in much for _, much in one.facts)
    ]
    note = (
        f'<p class="below">Mean differences of {escape(listed(bounded))}. In '
        "brackets: one-sided 95&nbsp;% bounds.</p>" if bounded else ""
    )
    return f'<div class="{kind}">{"".join(parts)}</div>{note}'


def _prose(text: str) -> str:
    """A paragraph; flags in it are set as code, and stay in one piece."""
    return re.sub(
        r"(?<![-\w])(\(?)(--[a-z][a-z_]+(?:=[\w.,+-]*\w)?)",
        r"\1<code>\2</code>", escape(text),
    )


def _unbroken(text: str) -> str:
    """Breaks a line before a bracket only."""
    text = escape(text).replace(" ", "&nbsp;")
    return text.replace("&nbsp;[", " [")


def _section(
    section: Section, files: Mapping[str, Mapping[str, bytes]]
) -> str:
    parts = [f"<p>{_prose(text)}</p>" for text in section.text]
    drawn = [_figure(one, files[one.name]) for one in section.figures]
    if drawn:
        parts.append('<div class="figures">' + "\n".join(drawn) + "</div>")
    parts += [_table(one) for one in section.tables]
    return "\n".join(parts)


def _figure(figure: Figure, files: Mapping[str, bytes]) -> str:
    name = escape(figure.name)
    inches = figure.drawn.get_figwidth()
    if len(files["svg"]) <= _MOST_SVG_BYTES:
        drawn = inline_svg(figure.name, files["svg"], f"alt-{name}")
    else:
        png = files.get("png") or figure_files(
            figure.name, figure.drawn, ["png"]
        )["png"]
        data = base64.b64encode(png).decode("ascii")
        drawn = (
            f'<img src="data:image/png;base64,{data}" '
            f'alt="{escape(figure.alt)}">'
        )
    broad = ' class="broad"' if inches > _BROAD else ""
    links = ", ".join(
        f'<a href="{name}.{form}">{form.upper()}</a>' for form in files
    )
    return (
        f'<figure{broad}><div class="wide" tabindex="0" role="group" '
        f'aria-label="Figure {name}">'
        f'<div class="drawing" style="width:{inches * _MOST_PIXELS:.0f}px;'
        f'min-width:{min(inches * _LEAST_PIXELS, 1600):.0f}px">{drawn}</div>'
        f'</div><figcaption><span id="alt-{name}">{escape(figure.alt)}</span> '
        f'<span class="files">{links}</span></figcaption></figure>'
    )


def _table(table: Table) -> str:
    rows = list(table.rows)
    shown = rows if table.shown is None else rows[: table.shown]
    link = f'<a href="{escape(table.name)}.csv">CSV</a>'
    title = escape(table.name.replace("_", " ").capitalize())
    if not shown:
        return (
            f'<p class="below">{title}: {len(rows):,} rows in {link}.</p>'
        )
    columns = [
        n for n, column in enumerate(table.columns)
        # Of one run its name in every row says nothing.
        if column not in _RUNS or len({row[n] for row in rows}) > 1
    ]
    numeric = {
        n: all(row[n] is None or _is_number(row[n]) for row in rows)
        for n in columns
    }
    head = "".join(
        f'<th scope="col"{_class(numeric[n])}>'
        f"{escape(str(table.columns[n]).replace('_', ' '))}</th>"
        for n in columns
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<{_tag(n == columns[0])}{_class(numeric[n])}>"
            f"{escape(cell_text(str(table.columns[n]), row[n], table.metric))}"
            f"</{_tag(n == columns[0]).split()[0]}>"
            for n in columns
        )
        + "</tr>"
        for row in shown
    )
    rest = len(rows) - len(shown)
    some = f" The first {len(shown):,} of {len(rows):,} rows." if rest else ""
    folded = len(shown) > _MOST_ROWS
    caption = "" if folded else f"<caption>{title}</caption>"
    label = f' aria-label="{title}"'
    whole = (
        f'<div class="wide" tabindex="0" role="group"{label}>'
        f"<table{label if folded else ''}>{caption}"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        f'<p class="below">{link}{some}</p>'
    )
    if folded:
        whole = (
            f"<details><summary>{title}, {len(shown):,} rows</summary>"
            f"{whole}</details>"
        )
    return f'<div class="tables">{whole}</div>'


def _tag(first: bool) -> str:
    return 'th scope="row"' if first else "td"


def _class(numeric: bool) -> str:
    return ' class="number"' if numeric else ' class="text"'


def _is_number(value: Any) -> bool:
    value = value.item() if hasattr(value, "item") else value
    return isinstance(value, (int, float)) and not isinstance(value, bool)
