"""Tasks: what goes in, what may come out, loss and metric."""

from hardware.errors import ConfigurationError, InputError
from lensless.tasks.classify import Classifier, Classify, ClassifyPicture, ClassifyReconstruction
from lensless.tasks.reconstruct import Reconstruct
from lensless.tasks.task import Numbers, Task

__all__ = [
    "Classifier",
    "Classify",
    "ClassifyPicture",
    "ClassifyReconstruction",
    "Numbers",
    "Reconstruct",
    "Task",
    "build",
]

KINDS = tuple(task.kind for task in (Reconstruct, Classify, ClassifyPicture, ClassifyReconstruction))


def build(config: dict) -> Task:
    """The task that `Task.config` describes, with untrained and unfitted numbers.

    Raises:
        InputError: the description names no known task, or lacks or misnames an argument.
    """
    kind = None
    try:
        arguments = dict(config)
        kind = arguments.pop("kind", None)
        match kind:
            case "reconstruct":
                return Reconstruct(**arguments)
            case "classify":
                return Classify(**arguments)
            case "classify-picture":
                return ClassifyPicture(**arguments)
            case "classify-reconstruction":
                return ClassifyReconstruction(build(arguments.pop("reconstruct")), **arguments)
    # RuntimeError: torch's, of sizes that no tensor can have, and Python's, of a description within descriptions.
    except (ConfigurationError, TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        raise InputError(f"the description of its task {str(kind)[:40]!r} does not fit ({reason})") from error
    raise InputError(f"it describes an unknown task {str(kind)[:40]!r}; expected one of {', '.join(KINDS)}")
