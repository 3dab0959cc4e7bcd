"""Whether the objects, rows and vectors of images agree, and how to make them agree again.

The stores know no common transaction: a process that is killed between two writes leaves one of
them alone. Everything is compared from end to end, in pages or side by side in the order of keys,
so that the memory it takes does not grow with the directory. What is found is looked at once more
before it is told, since images come and go meanwhile, and what is younger than the grace period
may be on its way.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from heapq import merge
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TypeVar

from pipeline.dead_letters import Parking, letter_from
from pipeline.errors import ObjectMissing
from pipeline.forgetting import CDN_ERRORS, Forgetting, remove_object
from pipeline.graph import STEPS, message_for, next_stage
from pipeline.ingest import Intake
from pipeline.queues import Lane, Stage
from pipeline.reconcile import is_stuck
from pipeline.records import AltSource, CatalogueImage, ImageMetadata, ImageState
from pipeline.stores import Stores
from pipeline.stores.objects import PUBLIC_FOLDERS
from pipeline.text_spaces import text_spaces

log = logging.getLogger(__name__)

Item = TypeVar("Item")
ImageKey = tuple[str, int]

AT_ONCE = 500
# Dead letters of one business that are looked through for those of deleted images.
MOST_LETTERS = 10_000
WAITING = (ImageState.ACCEPTED, ImageState.QUEUED)


class Kind(StrEnum):
    """What can be wrong."""

    ORPHANED_OBJECT = "orphaned_object"  # no row names it
    LOST_ORIGINAL = "lost_original"  # a row names it, and it is not there
    LOST_ENHANCED = "lost_enhanced"
    FACTS_WITHOUT_ROW = "facts_without_row"  # found in pixels that no photo has
    VECTORS_WITHOUT_ROW = "vectors_without_row"
    SCORES_WITHOUT_ROW = "scores_without_row"
    METADATA_WITHOUT_ROW = "metadata_without_row"
    ALT_TEXT_WITHOUT_ROW = "alt_text_without_row"
    LEFT_OF_DELETED = "left_of_deleted"
    INCOMPLETE = "incomplete"  # done, without what its stages have recorded
    UNFINISHED = "unfinished"  # a stage that never ended


@dataclass(frozen=True)
class Finding:
    """Something that does not agree.

    Attributes:
        what: an image as ``docid/product_id``, the key of an object, or a hash.
        outcome: deleted, sent (to the stage that makes it), parked, or kept; empty: not mended.
    """

    kind: Kind
    what: str
    detail: str
    outcome: str = ""

    @property
    def is_mended(self) -> bool:
        """Whether nothing is left to be done about it."""
        return self.outcome not in ("", "kept")


@dataclass(frozen=True)
class _Damage:
    finding: Finding
    mend: Callable[[], str]


class Consistency:
    """Compares the stores.

    Args:
        stores: what is compared.
        intake: how images are sent again.
        parking: where images go that have lost their original.
        forgetting: what ends deletions.
        depths: messages that wait in each queue: an image there has not been lost.
        grace: seconds for which what is new is left alone.
        step: is told the name of a comparison and how many more entries of it are done.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        intake: Intake,
        parking: Parking,
        forgetting: Forgetting,
        depths: Mapping[str, int],
        grace: float,
        step: Callable[[str, int], None] = lambda name, count: None,
    ) -> None:
        self._stores = stores
        self._intake = intake
        self._parking = parking
        self._forgetting = forgetting
        self._depths = depths
        self._settled_before = time.time() - grace
        self._step = step

    def findings(self, *, mend: bool) -> Iterator[Finding]:
        """What does not agree, as it is found; mended first, where that is asked for.

        Raises:
            StoreUnavailable, BrokerUnavailable: what was told until then stands.
        """
        # Each may leave something for the next: objects go after what names them.
        for damage in chain(self._facts(), self._strays(), self._objects(), self._images()):
            outcome = damage.mend() if mend else ""
            if outcome:
                log.info("%s %s: %s", damage.finding.kind.value, damage.finding.what, outcome)
            yield replace(damage.finding, outcome=outcome)

    # what was found in pixels

    def _facts(self) -> Iterator[_Damage]:
        documents = self._stores.documents
        for hashes in self._pages("facts", documents.every_pixel_hash()):
            used = documents.hashes_in_use(hashes)
            for sha256 in hashes:
                if sha256 not in used:
                    finding = Finding(Kind.FACTS_WITHOUT_ROW, sha256, "no photo has these bytes")
                    yield _Damage(finding, partial(self._forget_bytes, sha256))

    def _forget_bytes(self, sha256: str) -> str:
        try:
            self._forgetting.bytes(sha256)
        except CDN_ERRORS as error:
            log.warning("a CDN may keep the photo %s: %s", sha256, error)
            return "kept"
        return "deleted"

    # objects

    def _objects(self) -> Iterator[_Damage]:
        """Both lists come in the order of their keys, so that neither is ever held."""
        objects = self._stores.objects
        stored = self._counted("objects", chain.from_iterable(map(objects.keys, PUBLIC_FOLDERS)))
        for key, is_stored in differences(stored, self._stores.documents.every_object_key()):
            yield from self._orphans(key) if is_stored else self._lost(key)

    def _orphans(self, key: str) -> Iterator[_Damage]:
        if self._stores.documents.images_with(key, limit=1):
            return
        stored_at = self._stores.objects.stored_at(key)
        if stored_at is not None and stored_at < self._settled_before:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stored_at))
            finding = Finding(Kind.ORPHANED_OBJECT, key, f"there since {since}")
            yield _Damage(finding, partial(self._remove, key))

    def _remove(self, key: str) -> str:
        # One that was needed after all belongs to a photo that has come since.
        return "deleted" if remove_object(self._stores, key) else "kept"

    def _lost(self, key: str) -> Iterator[_Damage]:
        if self._stores.objects.exists(key):
            return
        for keys in _portions(self._stores.documents.images_with(key)):
            known = self._stores.documents.metadata(keys)
            for place, row in self._stores.documents.images_of(keys).items():
                if row.original_key == key:
                    if row.state is not ImageState.FAILED:
                        finding = Finding(Kind.LOST_ORIGINAL, _name(row), key)
                        yield _Damage(finding, partial(self._replace_original, row))
                elif row.state not in WAITING and place in known:
                    finding = Finding(Kind.LOST_ENHANCED, _name(row), key)
                    redo = partial(self._redo, row, known[place], [Stage.ENHANCE])
                    yield _Damage(finding, redo)

    def _replace_original(self, row: CatalogueImage) -> str:
        if row.url:
            fence = row.docid, row.product_id, row.generation
            unknown = {"original_key": "", "sha256": "", "size": 0, "content_type": ""}
            self._stores.documents.update_image(*fence, unknown)
            self._intake.replay(*fence, Stage.ENHANCE, Lane.BULK)
            return "sent"
        lost = ObjectMissing(
            f"the object store has lost the original {row.original_key}: upload the photo again, "
            "or bring the object back and replay this"
        )
        letter = letter_from(
            queue=Stage.ENHANCE.value,
            task=Stage.ENHANCE.value,
            # The same for every check: one loss is one dead letter.
            task_id=f"lost-original-{row.docid}-{row.product_id}-{row.generation}",
            error=lost,
            args=[message_for(row).encode()],
        )
        self._parking.park(letter, ends_image=True)
        return "parked"

    # what has no row

    def _strays(self) -> Iterator[_Damage]:
        documents, vectors = self._stores.documents, self._stores.vectors
        directory = self._stores.directory
        alt_texts = ((one.docid, one.product_id) for one in directory.every_alt_text())
        for kind, keys, drop in (
            (Kind.VECTORS_WITHOUT_ROW, vectors.every_image(), vectors.delete_image),
            (Kind.SCORES_WITHOUT_ROW, documents.every_scored(), documents.drop_findings),
            (Kind.METADATA_WITHOUT_ROW, documents.every_metadata(), documents.drop_findings),
            (Kind.ALT_TEXT_WITHOUT_ROW, alt_texts, self._drop_alt_text),
        ):
            name = kind.value.removesuffix("_without_row").replace("_", " ")
            for page in self._pages(name, keys):
                living = documents.images_of(page)
                for key in page:
                    if key not in living:
                        yield from self._stray(key, kind, name, partial(drop, *key))

    def _stray(
        self, key: ImageKey, kind: Kind, name: str, drop: Callable[[], object]
    ) -> Iterator[_Damage]:
        row = self._stores.documents.image(*key)
        if row is None:
            finding = Finding(kind, "{}/{}".format(*key), "the catalogue has no such image")
            yield _Damage(finding, lambda: "kept" if drop() == "kept" else "deleted")
        elif row.state is ImageState.DELETED and row.moved_at < self._settled_before:
            finding = Finding(Kind.LEFT_OF_DELETED, _name(row), name)
            yield _Damage(finding, partial(self._end_deletion, row))

    def _drop_alt_text(self, docid: str, product_id: int) -> str:
        text = self._stores.directory.alt_text(docid, product_id)
        if text is not None and text.source is AltSource.MANUAL:
            # What a person wrote is written nowhere else, should the rows be an old back-up's.
            return "kept"
        self._stores.directory.delete_alt_text(docid, product_id)
        return "deleted"

    def _end_deletion(self, row: CatalogueImage) -> str:
        try:
            self._forgetting.image(row.docid, row.product_id)
        except CDN_ERRORS as error:
            log.warning("a CDN may keep %s: %s", _name(row), error)
            return "kept"
        return "deleted"

    # rows

    def _images(self) -> Iterator[_Damage]:
        documents = self._stores.documents
        for page in self._pages("images", documents.every_image()):
            rows = {state: [row for row in page if row.state is state] for state in ImageState}
            yield from self._deleted(rows[ImageState.DELETED])
            yield from self._unfinished([row for state in WAITING for row in rows[state]])
            yield from self._incomplete(rows[ImageState.DONE])

    def _deleted(self, rows: Sequence[CatalogueImage]) -> Iterator[_Damage]:
        settled = {_key(row): row for row in rows if row.moved_at < self._settled_before}
        for docid in dict.fromkeys(docid for docid, _ in settled):
            letters = self._stores.documents.dead_letters(docid=docid, limit=MOST_LETTERS)
            parked = {(letter.docid, letter.product_id) for letter in letters}
            for key, row in settled.items():
                if key in parked:
                    finding = Finding(Kind.LEFT_OF_DELETED, _name(row), "dead letters")
                    yield _Damage(finding, partial(self._end_deletion, row))

    def _unfinished(self, rows: Sequence[CatalogueImage]) -> Iterator[_Damage]:
        settled = [row for row in rows if row.moved_at < self._settled_before]
        known = self._stores.documents.metadata([_key(row) for row in settled])
        for row in settled:
            waits_for = next_stage(known.get(_key(row))) or Stage.ALT_TEXT
            if is_stuck(row, waits_for, self._depths) and self._stands(row):
                finding = Finding(Kind.UNFINISHED, _name(row), f"never ended: {waits_for.value}")
                yield _Damage(finding, partial(self._send, row, waits_for))

    def _incomplete(self, rows: Sequence[CatalogueImage]) -> Iterator[_Damage]:
        for row, metadata, lacks in self._lacking(rows):
            if lacks and self._stands(row):
                finding = Finding(Kind.INCOMPLETE, _name(row), ", ".join(lacks.values()))
                yield _Damage(finding, partial(self._redo, row, metadata, list(lacks)))

    def _lacking(
        self, rows: Sequence[CatalogueImage]
    ) -> Iterator[tuple[CatalogueImage, ImageMetadata | None, dict[Stage, str]]]:
        """Images that are done, and what is not there of what each stage has recorded."""
        if not rows:
            return
        keys = [_key(row) for row in rows]
        documents, vectors = self._stores.documents, self._stores.vectors
        known = documents.metadata(keys)
        scores = documents.scored_images(keys, text_spaces(documents).serving)
        pictures = vectors.known_images("picture", keys)
        descriptions = vectors.known_images("description", keys)
        alt_texts = self._stores.directory.alt_texts_of(keys)
        for row, key in zip(rows, keys, strict=True):
            metadata = known.get(key)
            if metadata is None or metadata.generation != row.generation:
                yield row, None, {Stage.ENHANCE: "no metadata"}
                continue
            enhancement = metadata.enhancement
            is_absent = {
                Stage.ENHANCE: enhancement is not None and enhancement.action == "failed",
                Stage.UPDATE: enhancement is None,
                Stage.TAG: key not in pictures,
                Stage.DESCRIBE: bool(metadata.description) and key not in descriptions,
                Stage.SCORE: scores.get(key) != row.generation,
                Stage.ALT_TEXT: key not in alt_texts,
            }
            lacks = {}
            for stage in chain.from_iterable(STEPS):
                record = metadata.stages.get(stage.value)
                if record is None:
                    lacks[stage] = f"{stage.value} has not ended"
                elif record.outcome != "failed" and is_absent[stage]:
                    lacks[stage] = LACKS[stage]
            yield row, metadata, lacks

    def _redo(
        self, row: CatalogueImage, metadata: ImageMetadata | None, stages: Sequence[Stage]
    ) -> str:
        """Send an image to the first of the stages; those beside find their work done."""
        if metadata is not None:
            kept = {
                name: record.model_dump(mode="json")
                for name, record in metadata.stages.items()
                if name not in stages
            }
            fence = row.docid, row.product_id, row.generation
            self._stores.documents.patch_metadata(*fence, {"stages": kept})
        return self._send(row, stages[0])

    def _send(self, row: CatalogueImage, start: Stage) -> str:
        self._intake.replay(row.docid, row.product_id, row.generation, start, Lane.BULK)
        return "sent"

    def _stands(self, row: CatalogueImage) -> bool:
        """Whether an image is still where it was when its row was read."""
        now = self._stores.documents.image(row.docid, row.product_id)
        return now is not None and (now.generation, now.state, now.moved_at) == (
            row.generation,
            row.state,
            row.moved_at,
        )

    # reading from end to end

    def _pages(self, name: str, items: Iterable[Item]) -> Iterator[list[Item]]:
        found = iter(items)
        while page := list(islice(found, AT_ONCE)):
            yield page
            self._step(name, len(page))

    def _counted(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        for page in self._pages(name, items):
            yield from page


LACKS = {
    Stage.ENHANCE: "no enhanced version",
    Stage.UPDATE: "no record of the enhancement",
    Stage.TAG: "no vector of the picture",
    Stage.DESCRIBE: "no vector of the description",
    Stage.SCORE: "no scores",
    Stage.ALT_TEXT: "no alt text",
}


def differences(left: Iterable[str], right: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """The keys that one of two ascending lists lacks, each with whether the left one has it."""
    sides = merge(((key, True) for key in left), ((key, False) for key in right))
    for key, found in groupby(sides, key=itemgetter(0)):
        on = {is_left for _, is_left in found}
        if len(on) == 1:
            yield key, on.pop()


def _portions(keys: Sequence[ImageKey]) -> Iterator[Sequence[ImageKey]]:
    return (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE))


def _key(row: CatalogueImage) -> ImageKey:
    return row.docid, row.product_id


def _name(row: CatalogueImage) -> str:
    return f"{row.docid}/{row.product_id}"
