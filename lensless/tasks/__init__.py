"""Tasks: what goes in, what may come out, loss and metric."""

from hardware.errors import ConfigurationError, InputError
from lensless.sharing import Plan, SharedNetwork
from lensless.tasks.classify import Classifier, Classify, ClassifyPicture, ClassifyReconstruction
from lensless.tasks.cycle import ReconstructCycle
from lensless.tasks.learned import ReconstructLearned
from lensless.tasks.picture import PictureTask
from lensless.tasks.reconstruct import Reconstruct
from lensless.tasks.task import Numbers, Task

__all__ = [
    "Classifier",
    "Classify",
    "ClassifyPicture",
    "ClassifyReconstruction",
    "Numbers",
    "PictureTask",
    "Reconstruct",
    "ReconstructCycle",
    "ReconstructLearned",
    "Task",
    "build",
]

_PLAIN = {task.kind: task for task in (Reconstruct, ReconstructLearned, ReconstructCycle, Classify, ClassifyPicture)}
KINDS = (*_PLAIN, ClassifyReconstruction.kind)


def build(config: dict) -> Task:
    """The task that `Task.config` describes, with untrained and unfitted numbers.

    Raises:
        InputError: the description names no known task, or lacks or misnames an argument.
    """
    kind = None
    try:
        arguments = dict(config)
        kind, sharing = arguments.pop("kind", None), arguments.pop("sharing", None)
        task = None
        if kind == ClassifyReconstruction.kind:
            task = ClassifyReconstruction(build(arguments.pop("reconstruct")), **arguments)
        elif kind in _PLAIN:
            task = _PLAIN[kind](**arguments)
        if task is not None and sharing is not None:
            task.network = SharedNetwork(task.network, Plan.from_facts(sharing))
        if task is not None:
            return task
    # RuntimeError: torch's, of sizes that no tensor can have, and Python's, of a description within descriptions.
    except (ConfigurationError, TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        raise InputError(f"the description of its task {str(kind)[:40]!r} does not fit ({reason})") from error
    raise InputError(f"it describes an unknown task {str(kind)[:40]!r}; expected one of {', '.join(KINDS)}")
