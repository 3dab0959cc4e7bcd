"""``justlens describe``: what the models say of one photo."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cli.output import out, print_json
from models.detector import PRESENT
from models.errors import ModelError
from pipeline.errors import JustLensError
from pipeline.imaging import decode
from pipeline.settings import settings
from tasks.describe import text_flags
from tasks.runtime import Runtime


def describe(source: Path, *, business: str, categories: Sequence[str], json_output: bool) -> None:
    """Print description, alt text, tags, labels, text read, quality and flags."""
    chosen = settings()
    here = Runtime(chosen)
    try:
        picture = decode(source.read_bytes(), chosen.max_pixels)
        rgb = picture.on_white()
        encoder = here.model("image_text")
        embedding = encoder([rgb])[0]
        text = here.model("reader")(rgb)
        people = here.model("detector")(rgb)
        quality = here.model("quality")(rgb)
        found = here.model("describer")(
            rgb,
            labels=embedding.labels,
            text=text,
            business=business,
            categories=categories,
            prompt=chosen.prompt,
        )
        similarities = encoder.encode_names(categories) @ encoder.among_texts(embedding.vector)
    except (OSError, ModelError) as error:
        raise JustLensError(str(error)) from error
    result = {
        "description": found.description,
        "alt_text": found.alt_text,
        "tags": list(found.tags),
        "made_from": found.made_from,
        "text": text.text,
        "labels": {label.name: round(label.probability, 4) for label in embedding.labels[:5]},
        "cosine": {
            name: round(float(value), 4)
            for name, value in zip(categories, similarities, strict=True)
        },
        "quality": round(quality.score, 1),
        "flags": {
            **asdict(quality.flags),
            **text_flags(text, business)[0],
            "contains_people": None if people is None else people >= PRESENT,
        },
        "size": f"{picture.width}x{picture.height}",
    }
    if json_output:
        print_json(result)
        return
    for name, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        out.print(f"[bold]{name.replace('_', ' ')}[/]: {value}", highlight=False)
