"""What a report shows of labels beside their accuracy, and the same on the screen."""

from lensless.app.screen import Screen
from lensless.evaluate import label_drawing, report
from lensless.evaluate.confidence import Confidence
from lensless.evaluate.figures import percent
from lensless.evaluate.labels import WORST, ClassFigures, LabelFigures

HEADS = ["class", "scenes", "recall", "precision", "most often taken for"]
THRESHOLD_HEADS = ["if at least so certain", "answered", "of these, right"]
RELIABILITY = (
    "Of the labels with a probability, how many are right: on the dashed line as many as it says. Bins of fewer than "
    f"{label_drawing.LEAST_IN_BIN} scenes are left out."
)
ANSWERED = "What is gained by not answering; the points are labels of at least that probability."


def parts(labels: LabelFigures) -> list[str]:
    """Sentences, tables and drawings for a page; the confusion matrix stands elsewhere."""
    drawings = [
        (label_drawing.reliability(labels.confidence), RELIABILITY),
        (label_drawing.answered(labels.confidence), ANSWERED),
    ]
    table = report.plain_table(HEADS, _rows(labels.worst))
    if len(labels.classes) > label_drawing.FEW_CLASSES:
        table = report.details(f"all {len(labels.classes)} classes, least recall first", table)
    return [
        report.paragraph(among_the_likeliest(labels)), table, report.paragraph(certainty(labels.confidence)),
        report.figures(drawings), report.plain_table(THRESHOLD_HEADS, _thresholds(labels.confidence)),
    ]  # fmt: skip


def show(labels: LabelFigures, screen: Screen) -> None:
    """The same on the screen, of the worst classes only."""
    screen.say(f"\n{among_the_likeliest(labels)}")
    screen.say(certainty(labels.confidence))
    screen.table("", THRESHOLD_HEADS, _thresholds(labels.confidence))
    worst = labels.worst[:WORST]
    which = f"worst {len(worst)} of {len(labels.classes)} classes" if len(labels.classes) > WORST else "classes"
    screen.table(f"\n{which}", HEADS, _rows(worst))


def among_the_likeliest(labels: LabelFigures) -> str:
    """Top-k and means over classes, in words."""
    likeliest = ", ".join(f"top-{k} {percent(share)}" for k, share in labels.top.items())
    return (
        f"The right class is among the likeliest: {likeliest}. Mean over the classes, each counted alike: recall "
        f"{percent(labels.recall)}, precision {percent(labels.precision)}."
    )


def certainty(found: Confidence) -> str:
    """What the temperature changed, in words."""
    before, after = found.before, found.after
    return (
        f"Probabilities (temperature {found.temperature:.3g}, fitted on validation scenes): expected calibration error "
        f"{percent(after.calibration_error)}, {percent(before.calibration_error)} without it; negative log-likelihood "
        f"{after.negative_log_likelihood:.4f}, {before.negative_log_likelihood:.4f} without it."
    )


def _rows(classes: tuple[ClassFigures, ...]) -> list[list[str]]:
    return [
        [
            one.name, f"{one.count:,}", percent(one.recall), percent(one.precision),
            f"{one.taken_for} ({one.mistakes:,})" if one.taken_for is not None else "",
        ]
        for one in classes
    ]  # fmt: skip


def _thresholds(found: Confidence) -> list[list[str]]:
    return [[f"{one.threshold * 100:g} %", percent(one.share), percent(one.accuracy)] for one in found.answered]
