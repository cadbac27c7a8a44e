"""What runs in LenslessPiCam's environment; `lensless` is its package here. Nothing of ours can be imported.

It reads in.npz, and then three penalties from each line of standard input; it answers with seconds, and out.npy.
"""

import os
import sys
import time


def main() -> None:
    """Solve the problem of in.npz with each line's penalties into out.npy; tell the version, then their seconds."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    sys.stdout = sys.stderr  # what the packages print is no answer
    from importlib.metadata import version

    import numpy as np
    import torch

    from lensless.recon.admm import ADMM

    given = np.load("in.npz")
    psf, y = (torch.from_numpy(given[name]) for name in ("psf", "y"))
    answers.write(version("lensless") + "\n")
    for line in sys.stdin:
        mu1, mu2, mu3 = map(float, line.split())
        solver = ADMM(psf[None], mu1=mu1, mu2=mu2, mu3=mu3, tau=float(given["tau"]))
        solver.set_data(y)
        began = time.perf_counter()
        solver.apply(n_iter=int(given["iterations"]), disp_iter=None, plot=False)
        seconds = time.perf_counter() - began
        np.save("out.npy", solver._image_est[0, 0].numpy())  # of the whole plane
        answers.write(f"{seconds}\n")


if __name__ == "__main__":
    main()
