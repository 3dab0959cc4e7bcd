"""From one text model to another: a challenger is made ready, serves, and can be taken back.

What serves is written among the documents, where every process finds it, and then in the registry,
where people look: a kill between the two is mended by the same call.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.errors import ConfigurationError
from pipeline.records import ImageState
from pipeline.rescoring import Rescoring
from pipeline.stores import Stores
from pipeline.text_spaces import (
    BASE,
    TextSpaces,
    publish,
    put_in_force,
    text_spaces,
    version_of,
    withdraw,
)

Step = Callable[[int], None]
"""Is told how many more images have been looked at."""


def no_step(count: int) -> None:
    """Of whom nobody asks."""


class Aliases(Protocol):
    """Whose names change in the registry; ``pipeline.retraining.registry.Registry``."""

    def challenges(self) -> int | None:
        """The number of the challenger, if there is one."""

    def cut_over(self, reason: str, by: str = "") -> object:
        """Let the challenger be the champion."""

    def take_back(self, reason: str, by: str = "") -> object:
        """Undo that."""

    def drop(self, reason: str, by: str = "") -> object:
        """Give the challenger up."""


class ChangeOver:
    """Every step is safe to repeat: after a kill the same one goes on where it was.

    All may raise ``StoreUnavailable``. Who decided, and why, is noted in the registry.

    Args:
        stores: of the installation.
        rescoring: what writes images into a space; ``tasks.runtime.Runtime.rescoring``.
        registry: of the models.
    """

    def __init__(
        self, stores: Stores, rescoring: Callable[[str], Rescoring], registry: Aliases
    ) -> None:
        self._stores = stores
        self._rescoring = rescoring
        self._registry = registry

    @property
    def spaces(self) -> TextSpaces:
        """Those in force."""
        return text_spaces(self._stores.documents)

    def images(self) -> int:
        """How many a pass over all of them looks at."""
        counts = self._stores.documents.count_states()
        return sum(n for state, n in counts.items() if state is not ImageState.DELETED)

    def challenge(self, folder: Path, version: int) -> str:
        """Make a model the challenger: from now on images that arrive are written in its space too.

        Another challenger's space is dropped.

        Args:
            folder: made by ``models.export.sentence_encoder``.
            version: of the model in the registry.

        Returns:
            The name of its space, which ``fill`` fills.
        """
        name = publish(self._stores.objects, folder, version)
        spaces = self.spaces
        if spaces.challenger != name:
            self._change(spaces.challenged(name))
        return name

    def fill(self, step: Step = no_step) -> int:
        """Write what is missing in the challenger's space; returns how many images those were."""
        return self._fill(self._challenger(), step)

    def cut_over(self, reason: str, by: str = "", step: Step = no_step) -> TextSpaces:
        """Let the challenger serve, once nothing is missing in its space.

        What served before is kept up; what served before that is dropped.
        """
        spaces = self.spaces
        # Else a kill came between the two.
        if spaces.challenger is not None or self._registry.challenges() != spaces.version:
            name = self._challenger()
            if self._registry.challenges() != version_of(name):
                raise ConfigurationError(
                    f"{name} is not of the registry's challenger; "
                    "`justlens retrain reembed` makes its space"
                )
            self._fill(name, step)
            spaces = self._change(spaces.cut_over())
        self._registry.cut_over(reason, by)
        return spaces

    def roll_back(self, reason: str, by: str = "", step: Step = no_step) -> TextSpaces:
        """Let what served before serve again; what served is the challenger again."""
        before = self.spaces
        spaces = before.rolled_back()
        if spaces.serving != BASE:
            self._fill(spaces.serving, step)
        if self._registry.challenges() != before.version:
            self._registry.take_back(reason, by)
        return self._change(spaces)

    def drop(self, reason: str, by: str = "") -> TextSpaces:
        """Give the challenger up, with all that was written in its space."""
        # Else another model has taken its place there.
        if self._registry.challenges() == version_of(self._challenger()):
            self._registry.drop(reason, by)
        return self._change(self.spaces.unchallenged())

    def _challenger(self) -> str:
        name = self.spaces.challenger
        if name is None:
            raise ConfigurationError("there is no challenger; `justlens retrain reembed` makes one")
        return name

    def _fill(self, name: str, step: Step) -> int:
        rescoring, written = self._rescoring(name), 0
        # Images that were being scored when a pass went by are found by the next one.
        while count := rescoring.fill(step):
            written += count
        return written

    def _change(self, spaces: TextSpaces) -> TextSpaces:
        before = self.spaces
        put_in_force(self._stores.documents, spaces)
        for name in set(before.retrained) - set(spaces.retrained):
            self._stores.documents.drop_space(name)
            for model in self._rescoring(name).models:
                self._stores.vectors.drop_model(model)
            withdraw(self._stores.objects, name)
        return spaces
