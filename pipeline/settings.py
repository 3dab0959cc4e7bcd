"""Every setting of JustLens, read from ``JUSTLENS_*`` environment variables.

A profile is a set of defaults; each of them can be set by itself. Nothing else in the code asks
which profile is on: stores, broker and models are chosen by the addresses and names given here.
"""

import hashlib
import os
import re
import tempfile
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pipeline.catalogue import CHOOSABLE, HIDING, Reason, Rules
from pipeline.errors import ConfigurationError
from pipeline.logs import LogFormat
from pipeline.public_addresses import Network, parse_networks

# A Unix socket's address holds 108 bytes on Linux.
SOCKET_PATH_LIMIT = 100

SERVICES: dict[str, str] = {
    "broker_url": "amqp://guest:guest@127.0.0.1:5672//",
    "result_url": "redis://127.0.0.1:6379/0",
    "documents_url": "mongodb://127.0.0.1:27017/justlens",
    "relational_url": "mysql+pymysql://justlens@127.0.0.1:3306/justlens",
    "objects_url": "s3+http://127.0.0.1:9000/justlens",
    "vectors_url": "milvus://127.0.0.1:19530/default",
}


_RATE = r"\d+/(second|minute|hour|day)"
OUR_LINES = re.compile(r"^\s*(export\s+)?JUSTLENS_\w+\s*=", re.M)
RATE_LIMITS = re.compile(rf"{_RATE}(;{_RATE})*")

# Of the space of pictures. An encoder that is not listed here is taken to be like the first.
IMAGE_TEXT_ENCODERS: dict[str, dict[str, float]] = {
    # The threshold by `justlens calibrate` on 245 labelled photos: precision 0.88, recall 0.97. It
    # was the best of the pictures of `benchmarks/ranking_quality.py`, too.
    "conse": {"image_softmax_scale": 15.0, "one_class_threshold": 0.02},
    # The scale that CLIP is trained with ends at 100, where it is clipped. The threshold differs
    # with the weights, which are an operator's: `justlens calibrate` finds theirs.
    "open_clip": {"image_softmax_scale": 100.0, "one_class_threshold": 0.03},
}


class Settings(BaseSettings):
    """All settings; the address of a part left empty is filled in from the profile."""

    model_config = SettingsConfigDict(env_prefix="JUSTLENS_", frozen=True, extra="ignore")

    profile: Literal["embedded", "services"] = "embedded"
    data_dir: Path = Field(Path("var"), description="Where the embedded stores and broker live.")
    model_dir: Path = Field(
        Path.home() / ".cache" / "justlens" / "models",
        description="Converted weights and exported ONNX models, made once.",
    )

    broker_url: str = ""
    result_url: str = ""
    documents_url: str = ""
    relational_url: str = ""
    objects_url: str = ""
    vectors_url: str = ""
    events_url: str = ""
    public_objects_url: str = Field(
        "/objects", description="Prefix of the addresses under which pages find objects."
    )
    public_pictures_url: str = Field(
        "/pictures", description="Prefix of the addresses of their smaller versions."
    )

    enhancer: str = "compact"
    text_enhancer: str = Field(
        "", description="Enhancer of images of the type text; empty: as the others."
    )
    face_restorer: str = Field(
        "", description="Run on images of the type face, after the enhancer; empty: none."
    )
    weak_denoise: str = Field(
        "", description="File of weights of the enhancer's network that keep noise."
    )
    denoise_strength: float = Field(
        0.5, description="How much noise is removed, 0 (none) to 1.", ge=0, le=1
    )
    gpu_memory: float = Field(
        0.0, description="GiB of a GPU that a worker may take; 0: all that is free.", ge=0
    )
    image_text_encoder: str = "conse"
    open_clip_model: str = Field("ViT-B-32", description="Of open_clip's architectures.")
    open_clip_pretrained: str = Field("", description="A tag of its weights, or a checkpoint.")
    describer: str = "tags"
    text_encoder: str = "minilm"
    text_reader: str = "rapidocr"
    people_detector: str = Field("ssdlite", description="`none`: nothing is said of people.")
    quality: str = Field("no_reference", description="What judges how good a photo is by itself.")

    prompt: str = Field(
        "vision_json_with_category", description="Asked of the describer where a job names none."
    )
    describer_deadline: float = Field(
        90.0, description="Seconds for one answer of a describer's server, further tries included."
    )
    triton_servers: str = Field(
        "127.0.0.1:8001", description="host:port of each server's gRPC; grpcs:// before it for TLS."
    )
    triton_model: str = Field("llava_1_5_7b", description="Its name in the model repository.")
    triton_timeout: float = Field(
        40.0, description="Seconds after which a server that has not answered is left out."
    )
    triton_concurrency: int = Field(32, description="Requests of a process in flight.", ge=1)
    openai_url: str = Field("", description="What /chat/completions is appended to.")
    openai_model: str = Field("", description="Name of the model there.")
    openai_key: SecretStr = Field(SecretStr(""), description="Bearer token; empty: none is sent.")

    api_host: str = "127.0.0.1"
    api_names: str = Field(
        "", description="Names that the web applications answer to; with commas."
    )
    open_to: Literal["", "nobody", "loopback", "all"] = Field(
        "", description="Who needs no key of the web applications; empty: by the profile."
    )
    session_secret: SecretStr = Field(
        SecretStr(""), description="Signs the cookies of pages; empty: one of the data folder."
    )
    rate_limit_key: str = Field(
        "6000/minute", description="Requests of one key; empty: as many as it likes."
    )
    rate_limit_address: str = Field(
        "600/minute", description="Requests of one address without a key."
    )
    rate_limit_url: str = Field(
        "", description="Valkey or Redis to count requests in; empty: each process by itself."
    )
    cors_origins: str = Field("", description="Sites whose scripts may ask; with commas.")
    api_port: int = Field(8000, description="Of `justlens up`, unless --port is given.")
    api_processes: int = Field(
        1, description="Processes of the web applications, some 300 MB each.", ge=1
    )
    log_format: LogFormat = Field(
        "text", description="Lines of the logs: `text`, or `json`, an object in each."
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address under which workers serve their figures."
    )
    metrics_port: int = Field(
        0, description="Port of a worker's figures (Prometheus); 0: none.", ge=0, le=65535
    )
    flower_auth: SecretStr = Field(
        SecretStr(""), description="`user:password` of Flower, which does not start without."
    )
    flower_host: str = Field("127.0.0.1", description="Address that Flower listens on.")
    flower_port: int = Field(5555, description="Port of Flower.")
    threads: int = Field(
        default=os.cpu_count() or 1, description="Compute threads of this process.", ge=1
    )

    target_width: int = Field(1280, description="Long side of the target box, pixels.")
    target_height: int = Field(720, description="Short side of the target box, pixels.")
    noise_limit: float = Field(
        12.0, description="Noise (sigma, 0-255) above which a large enough image is denoised."
    )
    max_pixels: int = Field(50_000_000, description="Larger images are refused.")
    pixels_in_flight: int = Field(
        24_000_000, description="Pixels of decoded photos that a worker holds at a time."
    )
    max_bytes: int = Field(30_000_000, description="Larger files are refused.")
    fetch_timeout: float = Field(
        20.0, description="Seconds to fetch a photo by its address, redirects included."
    )
    fetch_networks: Annotated[frozenset[Network], NoDecode] = Field(
        frozenset(),
        description="Networks that photos are fetched from beside public ones; with commas.",
    )

    batch_size: int = Field(8, description="Images in one forward pass of the enhancer.")
    image_text_batch_size: int = Field(
        1,
        description="Images in one forward pass of the image-text encoder. More pay on a GPU.",
        ge=1,
    )
    batch_wait: float = Field(
        0.2, description="Seconds a batch waits for more images that are on their way."
    )

    announce: bool = Field(
        False, description="Publish an event on image_enhanced_products for each enhanced version."
    )
    cdn_purge: Literal["none", "http", "akamai"] = Field("none", description="Which CDN to purge.")
    cdn_public_url: str = Field(
        "", description="Absolute prefix of relative addresses, as the CDN and other systems know."
    )
    cdn_purge_batch: int = Field(8, ge=1, description="Most images in one purge request.")
    cdn_purge_wait: float = Field(0.2, description="Seconds a purge waits for more images.")
    cdn_purge_timeout: float = Field(10.0, description="Seconds for the CDN to answer.")
    cdn_purge_method: str = Field("POST", pattern="^[A-Za-z]+$")
    cdn_purge_url: str = Field("", description="Of the purge request; {url} or {path} in it.")
    cdn_purge_headers: SecretStr = Field(SecretStr(""), description="A JSON object.")
    cdn_purge_body: str = Field("", description="JSON; {urls} or {url} in it.")
    akamai_host: str = ""
    akamai_client_token: SecretStr = SecretStr("")
    akamai_client_secret: SecretStr = SecretStr("")
    akamai_access_token: SecretStr = SecretStr("")
    akamai_edgerc: str = Field("", description="File that holds the credentials left empty above.")
    akamai_section: str = Field("default", description="Of that file.")
    akamai_network: Literal["production", "staging"] = "production"
    akamai_action: Literal["invalidate", "delete"] = "invalidate"

    ingest_in_flight: int = Field(
        2000,
        description="Most messages of an ingest in the queues and workers; an image is up to two.",
        ge=2,
    )
    stage_deadline: float = Field(300.0, description="Seconds a stage may run.")
    max_deliveries: int = Field(
        2, description="Isolated runs of a message whose worker died, before it is parked."
    )
    max_retries: int = Field(
        3, description="Retries after an address, a model's server or the CDN failed.", ge=0
    )
    outage_retries: int = Field(
        20, description="Retries while a store or the broker is away.", ge=0
    )
    retry_delay: float = Field(
        2.0, description="Seconds before the first retry, then doubled up to a minute.", ge=0
    )
    reconcile_every: float = Field(30.0, description="Seconds between reconciler runs.")
    stuck_after: float = Field(
        60.0, description="Seconds without progress, its queue empty, that make an image stuck."
    )

    events_days: int = Field(
        180,
        description="Days that impressions, clicks and comparisons are kept; 0: for good.",
        ge=0,
    )

    shadow_share: float = Field(
        0.05, description="Share of the questions that a challenger is asked, too.", ge=0, le=1
    )
    shadow_waiting: int = Field(
        32, description="Most answers that wait to be compared; further ones are left out.", ge=1
    )
    shadow_least: int = Field(
        500, description="Comparisons before there is a verdict on a challenger.", ge=2
    )
    shadow_agreement: float = Field(
        0.7, description="Least share of businesses with the same first picture.", ge=0, le=1
    )
    shadow_psi: float = Field(
        0.25,
        description="Most that the scores may drift: population stability index, where it is "
        "significant.",
        ge=0,
    )
    shadow_ks: float = Field(
        0.2, description="The same: Kolmogorov-Smirnov statistic, where it is significant.", ge=0
    )
    shadow_drift_p: float = Field(
        0.01, description="Both are significant below this p-value.", gt=0, le=1
    )
    shadow_errors: float = Field(
        0.01, description="Most of a challenger's answers that may fail, a share.", ge=0, le=1
    )
    shadow_latency: float = Field(
        1.5, description="Most that its median latency may be, in those of the champion.", gt=0
    )
    shadow_patience: float = Field(
        24.0,
        description="Hours that a retrained model waits for enough questions; then queries of "
        "before are put to both models.",
        ge=0,
    )
    shadow_days: float = Field(
        7.0, description="Days after which a model that was not asked enough is dropped.", gt=0
    )
    retrain_every: float = Field(
        0.0, description="Seconds from one retraining to the next; 0: every night (UTC).", ge=0
    )
    retrain_cut_over: bool = Field(
        True, description="Let a retrained model serve by itself when it passes in the shadow."
    )
    capture_queries: bool = Field(
        True, description="Keep what people search for, without personal data, for retraining."
    )
    queries_days: int = Field(
        180, description="Days that it is kept, in whatever form; 0: for good.", ge=0
    )
    mlflow_url: str = Field(
        "", description="MLflow's tracking address; empty: a file in the data folder."
    )
    retrain_recipe: Path | None = Field(
        None, description="TOML or JSON of what a training is done by; none: the defaults."
    )
    retrain_replay: Path | None = Field(
        None, description="Scored pairs (STS CSV) by which a training keeps general similarity."
    )
    retrain_sts: Path | None = Field(
        None, description="Scored pairs (STS CSV) that models are measured on."
    )
    retrain_quora: Path | None = Field(
        None, description="Pairs of questions (Quora TSV) that models are measured on."
    )
    retrain_msmarco: Path | None = Field(
        None, description="Folder of queries.tsv, qrels.tsv, collection.tsv (MS MARCO), likewise."
    )
    promote_gain: float = Field(
        0.02, description="Least relative gain in MRR@10 that makes a model the challenger.", ge=0
    )
    promote_oov_share: float = Field(
        0.1, description="Queries with such a share of unknown terms count for it.", ge=0, le=1
    )
    promote_latency_ms: float = Field(
        0.0,
        description="Most milliseconds for 128 sentences, 20 on a GPU; 0: by the next.",
        ge=0,
    )
    promote_latency_factor: float = Field(
        1.25, description="Most of them, in those of the champion on the same machine.", gt=0
    )
    guard_sts_spearman: float = Field(
        0.005, description="Most that the rank correlation may fall below the champion's.", ge=0
    )
    guard_sts_pearson: float = Field(
        0.01, description="Most that the correlation may fall below the champion's.", ge=0
    )
    guard_sts_squared_error: float = Field(
        0.02, description="Most that the squared error may rise above the champion's.", ge=0
    )
    guard_paraphrase_f1: float = Field(
        0.01, description="Most that the F1 of paraphrases may fall below the champion's.", ge=0
    )
    guard_msmarco_mrr_at_10: float = Field(
        0.01, description="Most that MRR@10 of MS MARCO may fall below the champion's.", ge=0
    )

    weight_description: float = 0.25
    weight_image: float = 0.55
    weight_category_match: float = 0.20
    weight_relevance: float = Field(0.9, description="Share of relevance in the dynamic order.")
    weight_quality: float = Field(0.1, description="Share of quality in the dynamic order.")
    softmax_scale: float = Field(10.0, description="Of descriptions: inverse temperature.")
    image_softmax_scale: float = Field(0.0, description="Of pictures; empty: the encoder's own.")
    background_size: int = Field(256, description="Most category names in the background set.")
    background_least: int = Field(
        32, description="Fewer names than this are filled up from the classifier's classes."
    )
    synonym_cosine: float = Field(
        0.75, description="Names at least this close to a category leave its background."
    )
    one_class_threshold: float = Field(
        0.0, description="Least softmax share of a business's best category; empty: the encoder's."
    )
    pages_at_once: int = Field(
        1,
        description="Pages that a process makes at the same time; the others wait their turn. By "
        "the profile: where stores are servers, one page is made while another waits for them.",
        ge=1,
    )
    pages_waiting: int = Field(
        32, description="Most pages that wait; further ones are turned away with 503.", ge=0
    )
    carousel_size: int = 6
    carousel_lambda: float = Field(
        0.7,
        description="Of maximal marginal relevance: 1, the best; 0, the most unlike each other.",
        ge=0,
        le=1,
    )
    duplicate_bits: int = Field(
        6, description="Perceptual hashes that differ in at most so many bits are duplicates."
    )
    duplicate_likely_bits: int = Field(
        16, description="So are those up to here, where the pictures' vectors say the same."
    )
    duplicate_cosine: float = Field(
        0.95, description="Vectors with at least this cosine say that pictures are the same."
    )

    catalogue_rules: Annotated[frozenset[Reason], NoDecode] = Field(
        HIDING, description="What hides a photo, separated by commas."
    )
    catalogue_least_side: int = Field(
        Rules.least_side, description="Pixels of the shorter side; fewer are too small.", ge=0
    )
    catalogue_most_text: float = Field(
        Rules.most_text, description="Share of a photo from which it is text-heavy.", ge=0, le=1
    )

    @cached_property
    def origins(self) -> frozenset[str]:
        """The sites whose scripts may ask the web applications."""
        return frozenset(origin.strip() for origin in self.cors_origins.split(",")) - {""}

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that the web applications answer to, in lower case; none: see ``api.hosts``."""
        return frozenset(name.strip().lower() for name in self.api_names.split(",")) - {""}

    @field_validator("rate_limit_key", "rate_limit_address")
    @classmethod
    def _limits(cls, value: str) -> str:
        if value and not RATE_LIMITS.fullmatch(value):
            raise ValueError(f"{value!r}: a limit is written 100/minute; more than one with ;")
        return value

    @cached_property
    def rules(self) -> Rules:
        """The catalogue rules in force."""
        return Rules(self.catalogue_rules, self.catalogue_least_side, self.catalogue_most_text)

    @field_validator("catalogue_rules", mode="before")
    @classmethod
    def _named_rules(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = {name.strip() for name in value.split(",")} - {""}
        if unknown := names - set(CHOOSABLE):
            raise ValueError(
                f"{', '.join(sorted(unknown))}: no such rule; known: {', '.join(CHOOSABLE)}"
            )
        return names

    @field_validator("fetch_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return parse_networks(value) if isinstance(value, str) else value

    def image_text_options(self) -> dict[str, Any]:
        """What the constructor of the chosen image-text encoder takes beside what all take."""
        if self.image_text_encoder == "open_clip":
            return {"architecture": self.open_clip_model, "pretrained": self.open_clip_pretrained}
        return {}

    def enhancer_options(self, kind: str) -> dict[str, Any]:
        """What the constructor of the chosen enhancer takes beside what all models take.

        Args:
            kind: ``enhancer`` or ``text_enhancer``.
        """
        options: dict[str, Any] = {}
        if self.gpu_memory:
            options["gpu_memory"] = self.gpu_memory
        if self.weak_denoise and kind == "enhancer":
            options["weak_denoise"] = Path(self.weak_denoise).expanduser()
            options["denoise_strength"] = self.denoise_strength
        return options

    def describer_options(self) -> dict[str, Any]:
        """What the constructor of the chosen describer takes beside what all models take."""
        if self.describer == "triton":
            servers = [address.strip() for address in self.triton_servers.split(",")]
            return {
                "servers": [address for address in servers if address],
                "model": self.triton_model,
                "deadline": self.describer_deadline,
                "timeout": self.triton_timeout,
                "concurrency": self.triton_concurrency,
            }
        if self.describer == "openai":
            return {
                "url": self.openai_url,
                "model": self.openai_model,
                "key": self.openai_key.get_secret_value(),
                "deadline": self.describer_deadline,
            }
        return {}

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        profile = values.get("profile", "embedded")
        data_dir = Path(values.get("data_dir") or "var").expanduser().absolute()
        defaults = SERVICES if profile == "services" else _embedded(data_dir)
        filled = {name: values.get(name) or default for name, default in defaults.items()}
        filled["events_url"] = values.get("events_url") or _events(
            filled["relational_url"], data_dir
        )
        encoder = values.get("image_text_encoder") or "conse"
        figures = IMAGE_TEXT_ENCODERS.get(encoder, IMAGE_TEXT_ENCODERS["conse"])
        given = {name: values[name] for name in figures if values.get(name) not in (None, "")}
        open_to = values.get("open_to") or ("nobody" if profile == "services" else "loopback")
        if values.get("pages_at_once") in (None, ""):
            values = {**values, "pages_at_once": 2 if profile == "services" else 1}
        filled["mlflow_url"] = values.get("mlflow_url") or f"sqlite:///{data_dir}/mlflow.db"
        return {**values, "data_dir": data_dir, "open_to": open_to, **filled, **figures, **given}


def _embedded(data_dir: Path) -> dict[str, str]:
    socket = f"redis+socket://{socket_path(data_dir)}"
    return {
        "broker_url": f"{socket}?virtual_host=0",
        "result_url": f"{socket}?virtual_host=1",
        "documents_url": f"sqlite:///{data_dir}/documents.db",
        "relational_url": f"sqlite:///{data_dir}/directory.db",
        "objects_url": f"file://{data_dir}/objects",
        "vectors_url": f"sqlite:///{data_dir}/vectors.db",
    }


def _events(relational_url: str, data_dir: Path) -> str:
    """A table of the relational server; a file of its own where there is none."""
    if relational_url.startswith("sqlite"):
        return f"sqlite:///{data_dir}/events.db"
    return relational_url


def socket_path(data_dir: Path) -> Path:
    """Where the embedded broker listens: in the data folder unless that path is too long."""
    path = data_dir / "valkey.sock"
    if len(str(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"justlens-{digest}.sock"


class _OfFile(Settings):
    """What stands in a file, and nothing of the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (dotenv_settings,)


def of_file(path: Path) -> Settings:
    """The settings that a process with this file as its environment would have.

    Args:
        path: lines of ``JUSTLENS_NAME=value``, as Docker and systemd take them.

    Raises:
        ConfigurationError: there is no such file, or none of its lines names a setting of ours.
    """
    if not path.is_file() or not OUR_LINES.search(path.read_text()):
        raise ConfigurationError(f"{path} is no file with lines such as JUSTLENS_PROFILE=services")
    try:
        return _OfFile(_env_file=path)
    except ValidationError as error:
        # What was put in may be a password.
        wrong = (f"JUSTLENS_{'_'.join(map(str, one['loc'])).upper()}" for one in error.errors())
        raise ConfigurationError(
            f"{path}: {', '.join(wrong)} has a value that cannot work"
        ) from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
