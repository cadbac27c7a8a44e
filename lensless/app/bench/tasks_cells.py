"""Which networks `lensless bench tasks` trains: rig x scenes x method, each by the command that anybody can type."""

import dataclasses

MOST_CELLS = 24
QUICK = "--count 1000 --epochs 2"  # in place of a cell's own epochs, to see in minutes that everything runs


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the table.

    `method` in words; `train` are the options of `lensless train`; `epochs` of the training, None for the recipe's;
    `after` the cell whose pictures are classified; `seeds` trainings, of which mean and range are told; `sharp`: beside
    the same network on the sharp picture; `quick` says that a quick look trains it, too.
    """

    name: str
    rig: str
    scenes: str
    method: str
    train: str
    epochs: int | None = None
    after: str | None = None
    seeds: int = 1
    sharp: bool = False
    quick: bool = False

    @property
    def gives_picture(self) -> bool:
        return self.train.startswith("reconstruct")

    def training(self, seed: int, quick: bool) -> list[str]:
        """The options of `lensless train`, but for the folders."""
        words = self.train.split()
        if self.after is None:
            words += ["--rig", self.rig]
        words += ["--scenes", self.scenes, "--seed", str(seed)]
        if quick:
            return words + QUICK.split()
        return words if self.epochs is None else [*words, "--epochs", str(self.epochs)]


CELLS = (
    Cell("picture", "cannula-v1", "mnist", "network after Wiener", "reconstruct", 10, seeds=3, quick=True),
    Cell("picture-letters", "cannula-v1", "letters", "network after Wiener", "reconstruct", 10),
    Cell("picture-cifar", "cannula-v1", "cifar10-jpeg", "network after Wiener", "reconstruct", 24, quick=True),
    Cell("picture-bsds", "cannula-v1", "bsds-32", "network after Wiener", "reconstruct", 24),
    Cell("picture-bsds-64", "cannula-v1-64", "bsds-64", "network after Wiener", "reconstruct", 24),
    Cell("picture-bsds-128", "cannula-v1-128", "bsds-128", "network after Wiener, one stage", "reconstruct", 40),
    Cell("picture-colour", "cannula-v1-colour", "cifar10-jpeg", "network after Wiener", "reconstruct", 24),
    Cell("picture-shared", "cannula-v1", "mnist", "6 stages of one network", "reconstruct --shared", 10),
    Cell("picture-learned", "cannula-v1", "mnist", "learned first layer of rank 16",
         "reconstruct --network learned --rank 16 --width 24", 12, quick=True),
    Cell("picture-cycle", "cannula-v1", "mnist", "self-consistent network",
         "reconstruct --network cycle --width 16 --count 5000", 10),
    Cell("picture-bare", "bare-v1-short", "mnist", "network after Wiener", "reconstruct", 5),
    Cell("label", "cannula-v1", "mnist", "without reconstruction", "classify", 200, seeds=3, sharp=True,
         quick=True),
    Cell("label-letters", "cannula-v1", "letters", "without reconstruction", "classify --hidden 74 --moved 0.7", 150,
         seeds=3, sharp=True),
    Cell("label-even", "cannula-v1", "mnist-even-odd", "without reconstruction", "classify", 60),
    Cell("label-animal", "cannula-v1", "cifar10-jpeg-animal-vehicle", "without reconstruction", "classify", 60),
    Cell("label-after", "cannula-v1", "mnist", "after reconstruction", "classify",
         after="picture", seeds=3, sharp=True, quick=True),
    Cell("label-letters-after", "cannula-v1", "letters", "after reconstruction", "classify", 12,
         after="picture-letters"),
    Cell("label-bare", "bare-v1", "mnist", "without reconstruction, 100 frames",
         "classify --hidden 150,150 --frames 100", seeds=3, sharp=True),
    Cell("label-bare-one", "bare-v1", "mnist", "without reconstruction, one frame",
         "classify --hidden 150,150 --frames 1", seeds=3),
    Cell("label-bare-even", "bare-v1", "mnist-even-odd", "without reconstruction, 100 frames",
         "classify --hidden 150,150 --frames 100", 60, quick=True),
    Cell("label-bare-short", "bare-v1-short", "mnist", "without reconstruction, 100 frames",
         "classify --hidden 150,150 --frames 100", 60),
    Cell("label-bare-blank", "bare-v1-no-specks", "mnist", "without reconstruction, 100 frames",
         "classify --hidden 150,150 --frames 100", 20),
)  # fmt: skip
