"""How figures of merit are written."""

HEADS = {"psnr_db": "PSNR (dB)", "ssim": "SSIM", "accuracy": "accuracy"}


def shown(name: str, value: float | None) -> str:
    """A figure as people read it: accuracy in percent, PSNR with two decimals; empty where there is none."""
    if value is None:
        return ""
    return {"accuracy": f"{value * 100:.2f} %", "psnr_db": f"{value:.2f}", "ssim": f"{value:.3f}"}[name]
