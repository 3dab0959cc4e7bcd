"""From one text model to another: a challenger is made ready, serves, and can be taken back."""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.rescoring import Rescoring
from pipeline.stores import Stores
from pipeline.text_spaces import BASE, TextSpaces, publish, put_in_force, text_spaces

Step = Callable[[int], None]
"""Is told how many more images have been looked at."""


def no_step(count: int) -> None:
    """Of whom nobody asks."""


class ChangeOver:
    """Every step is safe to repeat: after a kill the same one goes on where it was.

    All may raise ``StoreUnavailable``.

    Args:
        stores: of the installation.
        rescoring: what writes images into a space; ``tasks.runtime.Runtime.rescoring``.
    """

    def __init__(self, stores: Stores, rescoring: Callable[[str], Rescoring]) -> None:
        self._stores = stores
        self._rescoring = rescoring

    @property
    def spaces(self) -> TextSpaces:
        """Those in force."""
        return text_spaces(self._stores.documents)

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

    def cut_over(self, step: Step = no_step) -> TextSpaces:
        """Let the challenger serve, once nothing is missing in its space.

        What served before is kept up; what served before that is dropped.
        """
        self._fill(self._challenger(), step)
        return self._change(self.spaces.cut_over())

    def roll_back(self, step: Step = no_step) -> TextSpaces:
        """Let what served before serve again; what served is the challenger again."""
        spaces = self.spaces.rolled_back()
        if spaces.serving != BASE:
            self._fill(spaces.serving, step)
        return self._change(spaces)

    def drop(self) -> TextSpaces:
        """Give the challenger up, with all that was written in its space."""
        self._challenger()
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
        return spaces
