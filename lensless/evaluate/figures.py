"""How figures of merit are written."""

SURE = 0.9  # from this probability on a label is given to those who would rather have none than a wrong one
HEADS = {
    "psnr_db": "PSNR (dB)", "ssim": "SSIM", "accuracy": "accuracy", "sure": f"at least {SURE:g} sure",
    "right_if_sure": "of these, right",
}  # fmt: skip


def shown(name: str, value: float | None) -> str:
    """A figure as people read it: shares in percent, PSNR with two decimals; empty where there is none."""
    if value is None:
        return ""
    return f"{value:.2f}" if name == "psnr_db" else f"{value:.3f}" if name == "ssim" else percent(value)


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if share is None else f"{share * 100:.2f} %"
