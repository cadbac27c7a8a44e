"""What is closed when a `with` block ends."""

import abc
from types import TracebackType
from typing import Self


class Closing(abc.ABC):
    """`with` calls `close`, whatever happened inside."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of what is held; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
