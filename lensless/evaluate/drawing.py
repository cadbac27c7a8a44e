"""The figures of a report, as SVG or PNG that a page can hold."""

import base64
import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, QUIET, ACCENT, SECOND = "#1d2433", "#6b7280", "#0f766e", "#b45309"
EVEN = 0.05  # maps that vary by less are drawn in one colour: it would look like structure
STYLE = {
    "font.family": "sans-serif", "font.size": 10, "axes.edgecolor": "#c5cad3", "axes.labelcolor": QUIET,
    "xtick.color": QUIET, "ytick.color": QUIET, "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "svg.fonttype": "path", "svg.hashsalt": "lensless",
}  # fmt: skip


def picture_uri(picture: np.ndarray, low: float = 0.0, high: float = 1.0) -> str:
    """A picture (h, w), or (h, w, 3) in colours, as a PNG data address; `low` is black, `high` white."""
    from PIL import Image

    span = max(high - low, 1e-12)
    shares = np.clip((np.asarray(picture, dtype=np.float64) - low) / span, 0, 1)
    return _png(Image.fromarray((shares * 255).round().astype(np.uint8)))


def frame_uri(frame: np.ndarray, longest: int = 320) -> str:
    """A raw frame between its own darkest and brightest pixel; large ones are shrunk by whole-pixel averages."""
    step = max(1, -(-max(frame.shape) // longest))
    rows, columns = (n // step * step for n in frame.shape)
    blocks = frame[:rows, :columns].reshape(rows // step, step, columns // step, step).mean((1, 3))
    low, high = np.percentile(blocks, [0.5, 99.5])
    return picture_uri(blocks, low, high)


def curves(history: list[dict], metric: str, best_epoch: int) -> str:
    """Training loss and validation figure over the epochs, as SVG."""
    epochs = [record["epoch"] + 1 for record in history]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        dot = {"marker": "o"} if len(history) == 1 else {}  # a line needs two points
        left.plot(epochs, [record["loss"] for record in history], color=QUIET, **dot)
        left.set(xlabel="epoch", title="training loss")
        scale = 100 if metric == "accuracy" else 1
        values = [record["validation"] * scale for record in history]
        right.plot(epochs, values, color=ACCENT)
        right.plot(best_epoch + 1, values[best_epoch], "o", color=ACCENT, markersize=5)
        name, unit = ("accuracy", "%") if metric == "accuracy" else ("PSNR", "dB")
        right.set(xlabel="epoch", title=f"validation {name}: {values[best_epoch]:.2f} {unit}")
        for axes in (left, right):
            axes.grid(color="#e7e9ee", linewidth=0.7)
            axes.xaxis.get_major_locator().set_params(integer=True)
        return svg(figure)


def singular_spectrum(values: np.ndarray, floor: np.ndarray | None) -> str:
    """Singular values of a matrix, largest = 1, above those of its sampling error; SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.semilogy(np.arange(1, len(values) + 1), values / values[0], color=ACCENT, label="the matrix")
        bottom = max(values[-1] / values[0], 1e-8)
        if floor is not None:
            levels = floor[: len(values)] / values[0]
            axes.semilogy(np.arange(1, len(levels) + 1), levels, color=SECOND, linewidth=1, label="its sampling error")
            bottom = min(bottom, max(levels[-1], 1e-3 * levels[0], 1e-8))
            axes.axhspan(bottom / 2, levels[0], color=SECOND, alpha=0.1, linewidth=0, label="may be sampling error")
            axes.legend(frameon=False, loc="upper right")
        axes.set(xlabel="mode", ylabel="singular value, largest = 1", ylim=(bottom / 2, 1.5))
        axes.grid(color="#e7e9ee", linewidth=0.7)
        return svg(figure)


def noise_levels(ratios: np.ndarray, frames: list[int]) -> str:
    """Signal over noise of each mode in one frame, and the levels where the noise of more frames lies; SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.semilogy(np.arange(1, len(ratios) + 1), ratios, color=ACCENT)
        for count in frames:
            level = count**-0.5
            axes.axhline(level, color=QUIET, linewidth=0.9, linestyle="--")
            name = "noise of 1 frame" if count == 1 else f"of {count:,} frames"
            axes.text(len(ratios), level * 1.1, name, ha="right", va="bottom", color=QUIET, fontsize=9)
        bottom = 0.5 * min(max(ratios[-1], 0.01), max(frames) ** -0.5)
        axes.set(xlabel="mode", ylabel="signal / noise in one frame", ylim=(bottom, 2 * ratios[0]))
        axes.grid(color="#e7e9ee", linewidth=0.7)
        return svg(figure)


def field_map(values: np.ndarray, title: str, unit: str, sides: tuple[float, float, str]) -> str:
    """Values over the field of view (h, w) with a bar of colours; what is infinite or no number is grey; SVG.

    `sides` are height and width of the field and their unit. What varies by a few percent is drawn as even.
    """
    finite = values[np.isfinite(values)]
    low, top = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if top - low < EVEN * max(abs(top), 1e-12):
        low, top = 0.5 * low, 0.5 * low + top  # the middle of the bar
    high, wide, length = sides
    around = (-wide / 2, wide / 2, high / 2, -high / 2)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.9), layout="constrained")
        axes = figure.subplots()
        shown = axes.imshow(
            np.ma.masked_invalid(values), cmap="viridis", vmin=low, vmax=top, interpolation="nearest", extent=around
        )
        axes.set_facecolor("#d5d9e0")
        axes.set_title(title, fontsize=10.5)
        axes.set(xlabel=f"in the scene ({length})")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label(unit, color=QUIET)
        bar.outline.set_visible(False)
        return svg(figure)


def fall(angles_deg: np.ndarray, correlation: np.ndarray, half_deg: float) -> str:
    """Correlation of point-spread functions over the angle between them, and where it is one half; SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(angles_deg, correlation, color=ACCENT)
        axes.axhline(0.5, color=QUIET, linewidth=0.9, linestyle="--")
        if np.isfinite(half_deg):
            axes.plot(half_deg, 0.5, "o", color=ACCENT, markersize=5)
            axes.text(half_deg, 0.53, f"  1/2 at {half_deg:.2f}°", color=INK, fontsize=9)
        axes.set(xlabel="angle between the points (degrees)", ylabel="correlation")
        axes.set_ylim(min(0, 1.1 * correlation.min()), 1.02)
        axes.grid(color="#e7e9ee", linewidth=0.7)
        return svg(figure)


def spent(parts: dict[str, int], budget: int, natural: int) -> str:
    """Trained numbers by kind, as parts of one bar, beside those of the network with weights of its own; SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.5), layout="constrained")
        axes = figure.subplots()
        left = 0
        for (name, count), colour in zip(parts.items(), (ACCENT, SECOND, QUIET), strict=True):
            axes.barh(0, count, left=left, color=colour, label=f"{name}: {count:,}")
            left += count
        axes.barh(1, natural, color="#d5d9e0", label=f"weights of its own: {natural:,}")
        axes.axvline(budget, color=INK, linewidth=1, linestyle="--")
        axes.set_yticks([0, 1], ["shared", "plain"])
        axes.set_xlim(0, 1.02 * max(budget, natural))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(ncols=2, frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return svg(figure)


def shares(values: np.ndarray, rows: list[str], columns: list[str]) -> str:
    """Which part of each row comes from each column, from 0 (white) to 1; SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(3.2, 2.4 + 0.22 * len(columns)), 1.2 + 0.2 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(values, cmap="Greens", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
        return svg(figure)


def likeness(values: np.ndarray, names: list[str], low: float) -> str:
    """A matrix of cosines from `low` to 1, what is no number in grey; SVG."""
    side = max(3.4, 1.8 + 0.2 * len(names))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(side + 0.6, side), layout="constrained")
        axes = figure.subplots()
        colours = "viridis" if low == 0 else "RdBu"
        shown = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=1, interpolation="nearest")
        axes.set_facecolor("#d5d9e0")
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        return svg(figure)


def svg(figure: Figure) -> str:
    """A figure as an SVG element, without the header of a file."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _png(image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
