"""The document store: images, what is known of them, their scores, and the dead letters."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from pydantic import TypeAdapter

from pipeline.queues import Lane, Stage
from pipeline.records import (
    Business,
    CatalogueImage,
    DeadLetter,
    ImageMetadata,
    ImageRelevance,
    ImageState,
    StageRecord,
)
from pipeline.stores import document_rows
from pipeline.stores.document_rows import PixelFact, WholeImage
from pipeline.stores.page_images import PageImages
from pipeline.stores.patches import Patch
from pipeline.stores.portable import Portable, Row

__all__ = [
    "STAGE_RECORDS",
    "DocumentStore",
    "PageImages",
    "Patch",
    "PixelFact",
    "WantedLetters",
    "WholeImage",
]

STAGE_RECORDS = TypeAdapter(dict[str, StageRecord])


class WantedLetters(TypedDict, total=False):
    """Which dead letters are meant; what is left out or None restricts nothing.

    Attributes:
        after: last parked at that Unix time or later.
        before: last parked earlier than that.
    """

    queue: str | None
    docid: str | None
    exception: str | None
    after: float | None
    before: float | None


class DocumentStore(Portable):
    """MongoDB's part. All methods may raise ``StoreUnavailable``.

    *Fenced* writes name the generation they belong to; they change nothing and return False when
    the row has another generation or is a tombstone.
    """

    parts = tuple(document_rows.READ)

    # businesses

    @abstractmethod
    def save_businesses(self, businesses: Iterable[Business]) -> None:
        """Insert or replace businesses by their docid."""

    @abstractmethod
    def businesses(self, docids: Sequence[str]) -> dict[str, Business]:
        """The known ones among ``docids``, in one read."""

    @abstractmethod
    def search_businesses(self, text: str = "", limit: int = 25) -> list[Business]:
        """Businesses whose name holds ``text`` (case ignored), ordered by docid."""

    @abstractmethod
    def delete_business(self, docid: str) -> bool:
        """Remove a business, whatever images it has; False where there is none."""

    @abstractmethod
    def every_business(self) -> Iterator[Business]:
        """All of them, read in pages."""

    # catalogue_details

    @abstractmethod
    def accept_image(self, image: CatalogueImage) -> tuple[CatalogueImage, bool]:
        """Record a photo that came in; returns the row as stored and whether work is to be done.

        A photo that is the row's already (same sha256, or same url where no bytes are handed in,
        and same ``image_type``) leaves the row as it is; work is then to be done only while its
        state is ``accepted`` or ``failed``, when ``force`` is set, or when another prompt is
        named. A failed, forced or newly prompted row becomes ``accepted`` again (with ``force``,
        ``prompt_name``, ``moved_at``, and no failure), so that a message that was never sent is
        noticed. Any other photo, and any photo over a tombstone,
        replaces the row under the next generation and drops the metadata and the scores of the
        old one. Atomic.
        """

    @abstractmethod
    def image(self, docid: str, product_id: int) -> CatalogueImage | None:
        """One row, tombstones included."""

    @abstractmethod
    def images(
        self,
        docids: Sequence[str],
        *,
        after: tuple[str, int] | None = None,
        limit: int | None = None,
        deleted: bool = False,
    ) -> list[CatalogueImage]:
        """Rows of the businesses, ordered by (docid, product_id); tombstones only with ``deleted``.

        At most ``limit`` behind ``after``, read from an index in that order: what a page costs does
        not grow with the number of rows.
        """

    @abstractmethod
    def images_of(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CatalogueImage]:
        """Rows of (docid, product_id) pairs, in one read; tombstones are left out."""

    @abstractmethod
    def update_image(
        self,
        docid: str,
        product_id: int,
        generation: int,
        changes: Mapping[str, Any],
        *,
        only_in: ImageState | None = None,
    ) -> bool:
        """Fenced change of fields of a row, and only while it is in the state ``only_in``.

        Raises:
            ValueError: a field is unknown, says which row it is, or has a value of a wrong type.
        """

    @abstractmethod
    def delete_image(self, docid: str, product_id: int) -> bool:
        """Turn a row into a tombstone of the next generation; drop its metadata and scores."""

    @abstractmethod
    def drop_findings(self, docid: str, product_id: int) -> bool:
        """Drop metadata and scores that have no row, or a tombstone; False where it stands."""

    @abstractmethod
    def every_image(self) -> Iterator[CatalogueImage]:
        """All rows, tombstones included, read in pages."""

    @abstractmethod
    def add_images(self, images: Sequence[WholeImage]) -> None:
        """Add images as they are, tombstones too; where there is a row, it stays with its rest.

        After a kill the same call again adds what is missing.
        """

    @abstractmethod
    def every_object_key(self) -> Iterator[str]:
        """All objects that rows or metadata name, tombstones left out, read in pages.

        Each once, in the order of their bytes, as ``ObjectStore.keys`` has them.
        """

    @abstractmethod
    def images_with(self, object_key: str, limit: int | None = None) -> list[tuple[str, int]]:
        """(docid, product_id) of the images that an object belongs to, tombstones left out.

        Their rows or their metadata name it, or what was found in their bytes does.
        """

    @abstractmethod
    def hashes_in_use(self, sha256s: Sequence[str]) -> set[str]:
        """Those among the hashes that are a photo's, tombstones left out."""

    @abstractmethod
    def waiting_images(
        self, state: ImageState, before: float, limit: int = 500
    ) -> list[CatalogueImage]:
        """Rows accepted or queued that did not move since ``before`` (Unix time), oldest first."""

    @abstractmethod
    def longest_waiting(self) -> dict[tuple[Stage, Lane], float]:
        """When the queued image that has not moved for longest last moved (Unix time).

        By the stage that it came to last and its lane; those without a queued image are left out.
        One look into an index for each, however many wait.
        """

    @abstractmethod
    def count_states(self, docids: Sequence[str] | None = None) -> dict[ImageState, int]:
        """How many images are in each state, 0 included; of some businesses or of all."""

    @abstractmethod
    def finished_images(self, until: float, span: float, spans: int) -> list[int]:
        """How many images were done in each of the ``spans`` of ``span`` seconds before ``until``.

        Oldest span first; a span holds its start and not its end. Reads the index entries of those
        images alone, however many others there are.
        """

    @abstractmethod
    def last_stages(self, limit: int = 200) -> list[dict[str, StageRecord]]:
        """How the stages ended for the images that were done last, newest first; a bounded read."""

    # metadata

    @abstractmethod
    def metadata(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], ImageMetadata]:
        """Metadata of (docid, product_id) pairs, in one read; unknown ones are left out."""

    @abstractmethod
    def every_metadata(self) -> Iterator[tuple[str, int]]:
        """(docid, product_id) of all metadata, read in pages."""

    @abstractmethod
    def patch_metadata(self, docid: str, product_id: int, generation: int, patch: Patch) -> bool:
        """Fenced: set some fields of an image's metadata, made if absent; atomic.

        Raises:
            ValueError: the patch does not fit the record; see ``pipeline.stores.patches``.
        """

    # both at once

    def image_and_metadata(
        self, docid: str, product_id: int
    ) -> tuple[CatalogueImage | None, ImageMetadata | None]:
        """A row, tombstones included, and its metadata."""
        image = self.image(docid, product_id)
        known = self.metadata([(docid, product_id)]) if image else {}
        return image, known.get((docid, product_id))

    def write_findings(
        self,
        docid: str,
        product_id: int,
        generation: int,
        patch: Patch,
        changes: Mapping[str, Any],
        facts: Sequence[tuple[str, PixelFact]] = (),
        relevance: Sequence[ImageRelevance] = (),
    ) -> bool:
        """Fenced: ``save_relevance``, ``update_image``, ``patch_metadata``; again does no harm.

        The metadata, which says that a stage has ended, comes last: after a kill before it the
        stage is done again. An alt text in the patch goes to the cards, too: ``show_alt_text``.

        Args:
            facts: what was found in some bytes; saved whether or not the image stands.
            relevance: rows of this image; see ``save_relevance``.

        Raises:
            ValueError: the patch, the changes or the rows do not fit.
        """
        self.save_pixel_facts(facts)
        fence = docid, product_id, generation
        stands = not relevance or self.save_relevance(relevance)
        if "alt_text" in patch:
            stands = stands and self.show_alt_text(*fence, patch["alt_text"])
        stands = stands and (not changes or self.update_image(*fence, changes))
        return stands and (not patch or self.patch_metadata(*fence, patch))

    def show_alt_text(self, docid: str, product_id: int, generation: int, text: str) -> bool:
        """Fenced: put the text into the metadata and the cards of an image."""
        fence = docid, product_id, generation
        stands = self.patch_metadata(*fence, {"alt_text": text})
        return stands and self.patch_relevance(*fence, {"card.alt": text})

    # what depends on the pixels alone, shared by all images with the same bytes

    @abstractmethod
    def pixel_fact(self, sha256: str, kind: str, model: str) -> dict[str, Any] | None:
        """What ``model`` found of this kind (``enhancement``, ``labels``, ``text``...)."""

    def save_pixel_fact(self, sha256: str, kind: str, model: str, fact: Mapping[str, Any]) -> None:
        """Keep it; the last writer wins, since all write the same."""
        self.save_pixel_facts([(sha256, PixelFact(kind, model, dict(fact)))])

    @abstractmethod
    def save_pixel_facts(self, facts: Sequence[tuple[str, PixelFact]]) -> None:
        """Keep what was found in the bytes of these hashes, likewise."""

    @abstractmethod
    def pixel_facts(self, sha256: str) -> list[PixelFact]:
        """All that was found in these bytes."""

    @abstractmethod
    def drop_pixel_facts(self, sha256: str) -> int:
        """Forget all of it; returns how many facts it was."""

    @abstractmethod
    def every_pixel_hash(self) -> Iterator[str]:
        """All hashes that something was found for, each once, read in pages."""

    # imgrel

    @abstractmethod
    def save_relevance(self, rows: Sequence[ImageRelevance]) -> bool:
        """Fenced: insert or replace the rows of one image under (space, docid, catid, product_id).

        All ``rows`` are of one image and one space, and one of them is that under
        ``ANY_CATEGORY``; rows of the image in that space under other categories are dropped.

        Raises:
            ValueError: the rows are of several images or spaces or of none, none is under
                ``ANY_CATEGORY``, or they do not agree on what is the image's own.
        """

    @abstractmethod
    def patch_relevance(self, docid: str, product_id: int, generation: int, patch: Patch) -> bool:
        """Fenced: set some fields in every row of one image, whatever space and category; atomic.

        Raises:
            ValueError: the patch does not fit the record; see ``pipeline.stores.patches``.
        """

    @abstractmethod
    def relevance(
        self, docids: Sequence[str], catids: Sequence[int], space: str = ""
    ) -> list[ImageRelevance]:
        """Rows of the businesses under any of the categories, whole and checked."""

    @abstractmethod
    def own_rows(self, keys: Sequence[tuple[str, int]], space: str = "") -> list[ImageRelevance]:
        """Rows under ``ANY_CATEGORY`` of (docid, product_id) pairs, whole and checked."""

    @abstractmethod
    def relevance_of(
        self, keys: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], list[ImageRelevance]]:
        """All rows of (docid, product_id) pairs in all spaces; those without are left out."""

    @abstractmethod
    def scored_images(
        self, keys: Sequence[tuple[str, int]], space: str = ""
    ) -> dict[tuple[str, int], int]:
        """The generation of the scores of (docid, product_id) pairs; those without are left out."""

    @abstractmethod
    def drop_space(self, space: str) -> None:
        """Remove all rows of a space, some at a time; again is harmless."""

    @abstractmethod
    def every_scored(self) -> Iterator[tuple[str, int]]:
        """(docid, product_id) of all images with scores in any space, read in pages."""

    @abstractmethod
    def page(self, wanted: Mapping[str, Iterable[int]], space: str = "") -> dict[str, PageImages]:
        """All images of businesses, each with its scores under the categories wanted of its own.

        One bounded indexed read of the pairs of a business and a category, however many businesses
        there are. Cards and parts of scores stay encoded: see ``decoded``.

        Args:
            wanted: the categories by business; no category: the images without any score.
            space: that the scores are of.

        Returns:
            The images of every business of ``wanted``, by its docid.
        """

    @abstractmethod
    def decoded(self, encoded: Sequence[Any]) -> list[dict[str, Any]]:
        """What cards, or parts of scores, of a page hold; nothing is read for it."""

    # deliveries of messages whose worker may have died

    @abstractmethod
    def count_delivery(self, task_id: str) -> int:
        """Count a run that is about to begin; returns the count, this one included. Durable."""

    @abstractmethod
    def note_delivery(self, task_id: str, cause: str) -> None:
        """Why the process is about to be ended while it has this message."""

    @abstractmethod
    def delivery_cause(self, task_id: str) -> str:
        """The noted cause, or an empty string."""

    @abstractmethod
    def forget_deliveries(self, task_id: str) -> None:
        """Drop the count and the cause: a process has survived the run."""

    # dead_letters

    @abstractmethod
    def park(self, letter: DeadLetter) -> DeadLetter:
        """Insert, or count up the record under the same key; returns the record as stored.

        Tries are added up, ``first_at`` stays the earliest, and the rest is the new letter's.
        """

    @abstractmethod
    def dead_letters(self, limit: int = 100, **wanted: Unpack[WantedLetters]) -> list[DeadLetter]:
        """Those that fit, newest first."""

    @abstractmethod
    def dead_letter(self, key: str) -> DeadLetter | None:
        """One of them."""

    @abstractmethod
    def every_dead_letter(self) -> Iterator[DeadLetter]:
        """All of them, read in pages."""

    @abstractmethod
    def count_dead_letters(self, **wanted: Unpack[WantedLetters]) -> dict[tuple[str, str], int]:
        """How many fit by (queue, exception)."""

    @abstractmethod
    def drop_dead_letter(self, key: str) -> bool:
        """Remove one; False where there is none."""

    # small named values, such as the version of the background set

    @abstractmethod
    def value(self, name: str) -> Any | None:
        """A named JSON value."""

    @abstractmethod
    def save_value(self, name: str, value: Any) -> None:
        """Keep a named JSON value."""

    @abstractmethod
    def every_value(self) -> Iterator[tuple[str, Any]]:
        """All of them by their names, read in pages."""

    # leases, for work that must not be done by two at once and takes longer than a message is held

    @abstractmethod
    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Hold a name from now for so long, or go on holding it; False while another does. Atomic.

        The clocks of the machines have to agree to much less than ``seconds``.
        """

    @abstractmethod
    def give_lease_back(self, name: str, holder: str) -> None:
        """Let others take it; nothing happens where another holds it by now."""

    # to another document store

    def every_row(self, part: str) -> Iterator[Row]:
        return document_rows.READ[part](self)

    def add_rows(self, part: str, rows: Sequence[Row]) -> None:
        document_rows.ADD[part](self, rows)

    # life

    def prepare(self) -> None:
        """Make what the store needs on its server; safe to repeat, and to run beside others."""

    @abstractmethod
    def version(self) -> str:
        """What serves it, and in which version; for people."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""

    def stage_ended(self, metadata: ImageMetadata | None, stage: Stage, key: str) -> bool:
        """Whether the stage ended well for exactly these inputs."""
        record = metadata.stages.get(stage.value) if metadata else None
        return record is not None and record.key == key and record.outcome != "failed"
