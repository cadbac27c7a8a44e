import html.parser
import re

import numpy as np
import pytest
import torch
from matplotlib.font_manager import findfont, get_font

from lensless.app import label_page
from lensless.evaluate import drawing, label_drawing, report
from lensless.evaluate.evaluation import Evaluation, Examples, Line, example_indices
from lensless.evaluate.labels import LabelFigures, label_figures
from lensless.tasks import Numbers


class Checked(html.parser.HTMLParser):
    """Every tag that opens closes again, in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def figures_of(classes: tuple[str, ...]) -> LabelFigures:
    return label_figures(torch.eye(len(classes)), torch.arange(len(classes)), classes)


def evaluation(name: str = "without reconstruction") -> Evaluation:
    lines = [Line(name, {"accuracy": 0.91234}, "40 trainable"), Line("sums", {"psnr_db": 12.5, "ssim": 0.4})]
    pictures = {"scene": torch.rand(2, 8, 8), "raw frame": torch.rand(2, 500, 640)}
    labels = {"truth": ["a", "<b>"], "label": ["a", "c"]}
    return Evaluation(
        "classify", "accuracy", "glyphs/test", 2, lines, Numbers(40, 3, 2), Examples(pictures, labels), 180,
        figures_of(("a", "<b>", "c")),
    )  # fmt: skip


def whole_page() -> str:
    one = evaluation()
    history = [{"epoch": epoch, "loss": 1 / (epoch + 1), "validation": 0.1 * epoch} for epoch in range(5)]
    parts = [report.gallery(one.examples), report.table(one.lines), report.training(history, one.metric)]
    parts += [
        label_drawing.confusion_matrix(one.labels),
        *label_page.parts(one.labels),
        report.numbers(one),
        report.provenance({"rig": "cannula-v1"}),
    ]
    return report.page("Title & more", "lead", [report.section("heading", "text", *parts)])


def test_a_page_is_well_formed_and_fetches_nothing():
    torch.manual_seed(0)
    text = whole_page()
    checked = Checked()
    checked.feed(text)
    assert checked.open == []
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", text)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "<script" not in text and "@import" not in text


def test_the_same_evaluation_gives_the_same_page():
    torch.manual_seed(0)
    first = whole_page()
    torch.manual_seed(0)
    assert whole_page() == first


def test_names_of_classes_are_text_and_mistakes_stand_out():
    text = report.gallery(evaluation().examples)
    assert "&lt;b&gt;" in text and "<b>" not in text
    assert text.count('class="wrong"') == 1


def test_figures_are_written_with_their_units():
    text = report.table(evaluation().lines)
    for expected in ("91.23 %", "12.50", "0.400", "PSNR (dB)", "SSIM"):
        assert expected in text


@pytest.mark.parametrize("count, expected", [(3, [0, 1, 2]), (16, list(range(0, 16, 2)))])
def test_examples_are_spread_over_the_test_set(count, expected):
    assert example_indices(count) == expected


def test_class_names_are_no_formulas_and_powers_of_ten_are():
    matrix = label_drawing.confusion_matrix(figures_of(("$a$", "b_{2}", "c")))
    assert matrix.startswith("<svg")
    spectrum = drawing.noise_levels(np.array([1.0, 0.1, 0.01]), [1, 100])
    assert drawn("$") in matrix
    assert drawn("{") not in spectrum  # part of how a power of ten is written, not of how it looks


def drawn(character: str) -> str:
    """The name that the outline of a character has in an SVG of matplotlib."""
    font = get_font(findfont("DejaVu Sans"))
    return f'"DejaVuSans-{font.get_char_index(ord(character)):x}"'
