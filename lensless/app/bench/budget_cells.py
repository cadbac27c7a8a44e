"""Which networks `lensless bench budgets` trains: both tasks of `cannula-v1` on MNIST, at four budgets, four ways."""

from lensless.app.bench.tasks_cells import Cell

SHARES = (12.5, 25.0, 50.0, 75.0)  # percent of what the network has by itself
HEADLINES = (12.5, 25.0)  # with three seeds
METHODS = ("cells", "superweights", "ssn")
EPOCHS = {"label": 60, "picture": 3}
# The widest networks of the same kind that keep each budget: fewer sums and hidden units, fewer channels.
NARROW = {
    "label": ("--sums 43 --hidden 26", "--sums 62 --hidden 38", "--sums 89 --hidden 56", "--sums 110 --hidden 69"),
    "picture": ("--width 5", "--width 7", "--width 11", "--width 13"),
}
KINDS = {"label": "classify", "picture": "reconstruct"}


def _cells() -> tuple[Cell, ...]:
    found = []
    for name, kind in KINDS.items():
        common = {"rig": "cannula-v1", "scenes": "mnist", "epochs": EPOCHS[name]}
        found.append(Cell(f"{name}-whole", method="weights of its own", train=kind, seeds=3, **common))
        for share, narrow in zip(SHARES, NARROW[name], strict=True):
            seeds = 3 if share in HEADLINES else 1
            for method in METHODS:
                train = f"{kind} --budget {share:g}% --sharing {method}"
                words = f"{method}, {share:g} %"
                found.append(Cell(f"{name}-{method}-{share:g}", method=words, train=train, seeds=seeds, **common))
            words = f"narrow, {share:g} %"
            found.append(
                Cell(f"{name}-narrow-{share:g}", method=words, train=f"{kind} {narrow}", seeds=seeds, **common)
            )
    return tuple(found)


CELLS = _cells()
