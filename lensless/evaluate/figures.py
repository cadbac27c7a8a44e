"""How figures of merit are written."""

HEADS = {"psnr_db": "PSNR (dB)", "ssim": "SSIM", "accuracy": "accuracy"}


def shown(name: str, value: float | None) -> str:
    """A figure as people read it: accuracy in percent, PSNR with two decimals; empty where there is none."""
    if value is None:
        return ""
    return {"accuracy": percent(value), "psnr_db": f"{value:.2f}", "ssim": f"{value:.3f}"}[name]


def change(name: str, difference: float) -> str:
    """What a figure has changed by, with its sign."""
    value, unit = (100 * difference, "points") if name == "accuracy" else (difference, "dB" * (name == "psnr_db"))
    return f"{value:+.2f} {unit}".rstrip()


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if share is None else f"{share * 100:.2f} %"
