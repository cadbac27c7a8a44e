"""Tasks: what goes in, what may come out, loss and metric."""

from hardware.errors import ConfigurationError, InputError
from lensless.tasks.classify import Classify, ClassifyPicture, ClassifyReconstruction
from lensless.tasks.reconstruct import Reconstruct
from lensless.tasks.task import Numbers, Task

__all__ = ["Classify", "ClassifyPicture", "ClassifyReconstruction", "Numbers", "Reconstruct", "Task", "build"]


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
        raise InputError(f"checkpoint: the description of its {kind!r} task does not fit: {error}") from error
    raise InputError(f"checkpoint: unknown task {kind!r}; expected reconstruct, classify or classify-reconstruction")
