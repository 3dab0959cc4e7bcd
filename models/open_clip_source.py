"""Which OpenCLIP network is meant, told without loading it."""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.errors import NotConfigured, WeightsMissing

FOLDER = "local-dir:"
HUB = "hf-hub:"


@dataclass(frozen=True)
class Source:
    """An architecture and its weights.

    Parameters
    ----------
    architecture:
        A name that open_clip knows ("ViT-B-32"), `local-dir:PATH` for a folder that open_clip's
        training has saved, or `hf-hub:organisation/name`.
    pretrained:
        A tag of that architecture, or the path of a checkpoint. The other two bring their own.
    """

    architecture: str
    pretrained: str = ""

    @cached_property
    def identity(self) -> str:
        """Architecture and weights: local files by what is in them, others by their name.

        Raises `NotConfigured` when no weights are named, `WeightsMissing` for files that are not
        there.
        """
        if self.architecture.startswith(FOLDER):
            folder = Path(self.architecture.removeprefix(FOLDER))
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            if not files:
                raise WeightsMissing(f"JUSTLENS_OPEN_CLIP_MODEL: no files in {folder}")
            return f"local-dir.{_digest(files)}"
        if self.architecture.startswith(HUB):
            return self.architecture
        if not self.pretrained:
            raise NotConfigured(
                f"JUSTLENS_OPEN_CLIP_PRETRAINED names no weights for {self.architecture!r}; "
                "it takes a tag such as laion2b_s34b_b79k, or the path of a checkpoint"
            )
        checkpoint = Path(self.pretrained)
        if checkpoint.is_file():
            return f"{self.architecture}.{_digest([checkpoint])}"
        if os.sep in self.pretrained or not re.fullmatch(r"\w+", self.pretrained):
            raise WeightsMissing(f"JUSTLENS_OPEN_CLIP_PRETRAINED: there is no file {checkpoint}")
        return f"{self.architecture}.{self.pretrained}"


def _digest(files: Iterable[Path]) -> str:
    """Of the files' contents, whatever they are called."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
