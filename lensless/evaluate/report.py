"""One page that shows what a camera without optics saw: self-contained HTML, nothing fetched from elsewhere."""

import html

import numpy as np

from lensless.evaluate import drawing
from lensless.evaluate.evaluation import Evaluation, Examples, Line
from lensless.evaluate.figures import HEADS, shown

CELL, NOTE = ' class="n"', ' class="note"'
STYLE = """
:root { --ink: #1d2433; --quiet: #5f6777; --line: #e2e5ea; --paper: #fff; --ground: #f5f6f8; --accent: #0f766e; }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink);
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.015em }
h2 { font-size: 1.2rem; margin: 0 0 .35rem }
p { margin: .3rem 0 .9rem; max-width: 46rem }
.lead { color: var(--quiet); font-size: 1.05rem }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem;
          margin: 1.25rem 0 }
.flow { display: flex; align-items: center; justify-content: center; gap: .9rem; flex-wrap: wrap; text-align: center;
        padding: 1.8rem 1rem }
.flow figure { margin: 0; max-width: 10.4rem; align-self: start }
.flow .arrow { color: var(--quiet); font-size: 1.6rem; margin-bottom: 2.4rem }
.flow img { width: 10.4rem; height: 10.4rem; object-fit: contain; background: #000; border-radius: 8px }
.flow .label { width: 10.4rem; height: 10.4rem; border-radius: 8px; border: 2px solid var(--accent);
               color: var(--accent); display: grid; place-items: center; font-size: 5.5rem; font-weight: 600;
               line-height: 1 }
figcaption { color: var(--quiet); font-size: .88rem; margin-top: .4rem }
img { image-rendering: pixelated } svg { max-width: 100%; height: auto }
.scroll { overflow-x: auto; margin-bottom: 1.2rem }
table { border-collapse: collapse; width: 100%; font-size: .95rem }
th { text-align: left; color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--line);
     padding: .35rem .8rem .35rem 0 }
td { border-bottom: 1px solid var(--line); padding: .45rem .8rem .45rem 0; vertical-align: top }
tr:last-child td { border-bottom: 0 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr.own td { font-weight: 600 } tr.own td.note { font-weight: 400 } td.note { color: var(--quiet); font-size: .88rem }
table.gallery { width: auto } table.gallery td { border: 0; padding: .2rem .3rem; text-align: center }
table.gallery th { border: 0; padding-right: .9rem; text-align: right; vertical-align: middle; font-size: .88rem }
table.gallery img { width: 5.2rem; height: 5.2rem; object-fit: contain; background: #000; border-radius: 4px;
                    display: block }
table.gallery .wrong { color: #b91c1c; font-weight: 600 }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start } .pair > * { flex: 1 1 20rem }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .8rem 1.4rem;
           margin-bottom: 1rem }
.figures figure { margin: 0 }
.nine { display: grid; grid-template-columns: repeat(3, minmax(0, 11rem)); gap: .7rem; margin-bottom: .8rem }
.nine figure { margin: 0 } .nine img { width: 100%; border-radius: 4px; background: #000; display: block }
.nine figcaption { margin-top: .15rem }
.warning { border: 2px solid #b45309; background: #fffbeb; border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0 }
.warning p { margin: 0; max-width: none }
details { margin-top: .6rem } summary { cursor: pointer; color: var(--quiet) }
code, pre { font: .85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace } pre { white-space: pre-wrap }
"""


def page(title: str, lead: str, sections: list[str]) -> str:
    """The whole page from its sections."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>\n'
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def paragraph(text: str) -> str:
    return f"<p>{escape(text).replace(' %', '&nbsp;%')}</p>"


def details(summary: str, hidden: str) -> str:
    """What is shown to those who ask for it."""
    return f"<details><summary>{escape(summary)}</summary>{hidden}</details>"


def section(heading: str, text: str, *parts: str) -> str:
    return f"<section><h2>{escape(heading)}</h2><p>{escape(text)}</p>{''.join(parts)}</section>"


def warning(text: str) -> str:
    """A box that nobody overlooks; nothing where there is nothing to say."""
    return f'<div class="warning"><p><strong>Beware.</strong> {escape(text)}</p></div>' if text else ""


def flow(scene: np.ndarray, frame: np.ndarray, reconstruction: np.ndarray, label: str, steps: tuple[str, ...]) -> str:
    """The first thing to look at: scene, frame, picture, label. `steps` are their four captions."""
    parts = [
        f'<img alt="{escape(steps[0])}" src="{drawing.picture_uri(scene)}">',
        f'<img alt="{escape(steps[1])}" src="{drawing.frame_uri(frame)}">',
        f'<img alt="{escape(steps[2])}" src="{drawing.picture_uri(reconstruction)}">',
        f'<div class="label">{escape(label)}</div>',
    ]
    figures = [
        f"<figure>{part}<figcaption>{escape(step)}</figcaption></figure>"
        for part, step in zip(parts, steps, strict=True)
    ]
    return '<section class="flow">' + '<span class="arrow">&rarr;</span>'.join(figures) + "</section>"


def gallery(examples: Examples) -> str:
    """Examples in columns; every way to look at them in rows."""
    rows = []
    for name, pictures in examples.pictures.items():
        draw = drawing.frame_uri if name == "raw frame" else drawing.picture_uri
        cells = "".join(f'<td><img alt="{escape(name)}" src="{draw(picture.numpy())}"></td>' for picture in pictures)
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    truth = examples.labels["truth"]
    for name, labels in examples.labels.items():
        cells = "".join(
            f'<td class="{"" if label == right else "wrong"}">{escape(label)}</td>'
            for label, right in zip(labels, truth, strict=True)
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<div class="scroll"><table class="gallery">{"".join(rows)}</table></div>'


def table(lines: list[Line]) -> str:
    """The figures, the task's own first; a missing figure is left empty."""
    names = list(dict.fromkeys(name for line in lines for name in line.figures))
    head = "".join(f'<th class="n">{escape(HEADS[name])}</th>' for name in names)
    rows = []
    for at, line in enumerate(lines):
        cells = "".join(f'<td class="n">{shown(name, line.figures.get(name))}</td>' for name in names)
        own = ' class="own"' if at == 0 else ""
        rows.append(f'<tr{own}><td>{escape(line.name)}</td>{cells}<td class="note">{escape(line.note)}</td></tr>')
    return f'<div class="scroll"><table><tr><th></th>{head}<th></th></tr>{"".join(rows)}</table></div>'


def plain_table(heads: list[str], rows: list[list[str]]) -> str:
    """Text in the first column, notes in those without a head, figures in the others."""
    kinds = ["", *(CELL if head else NOTE for head in heads[1:])]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, heads, strict=True))
    lines = ("".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def figures(parts: list[tuple[str, str]]) -> str:
    """Drawings side by side, each with one sentence on what to read from it."""
    shown = "".join(f"<figure>{drawn}<figcaption>{escape(text)}</figcaption></figure>" for drawn, text in parts)
    return f'<div class="figures">{shown}</div>'


def nine(pictures: list[np.ndarray], names: list[str]) -> str:
    """Frames in three rows of three, each between its own darkest and brightest pixel."""
    cells = "".join(
        f'<figure><img alt="{escape(name)}" src="{drawing.frame_uri(picture)}"><figcaption>{escape(name)}</figcaption>'
        "</figure>"
        for picture, name in zip(pictures, names, strict=True)
    )
    return f'<div class="nine">{cells}</div>'


def numbers(evaluation: Evaluation) -> str:
    """How many numbers the task holds, by where they come from."""
    held = evaluation.numbers
    before = f"Trained before, frozen: {held.trained_before:,}. " if held.trained_before else ""
    return (
        f"<p>Trainable: {held.trainable:,}. From calibration: {held.from_calibration:,}. "
        f"Fitted on scenes: {held.fitted_on_scenes:,}. {before}Stored: {_size(evaluation.stored_bytes)}. "
        f"Resident: {_size(evaluation.resident_bytes)}. "
        f"Scenes: {evaluation.count:,} ({escape(evaluation.scenes)}).</p>"
    )


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def training(history: list[dict], metric: str) -> str:
    """The curves of a training."""
    if not history:
        return ""
    best = max(range(len(history)), key=lambda at: history[at]["validation"])
    return drawing.curves(history, metric, best)


def provenance(facts: dict[str, str]) -> str:
    """What the page came from, for those who want to do it again."""
    rows = "".join(
        f"<tr><td>{escape(key)}</td><td><code>{escape(str(value))}</code></td></tr>" for key, value in facts.items()
    )
    return f'<section><h2>Made from</h2><div class="scroll"><table>{rows}</table></div></section>'


def escape(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
