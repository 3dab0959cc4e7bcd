"""``justlens enhance``: the enhancer and its policy, without queues."""

import time
from pathlib import Path

import typer
from PIL import Image

from cli.ingest import photo_files
from cli.output import fail, out, print_json, progress
from models.errors import ModelError
from pipeline.errors import JustLensError
from pipeline.imaging import decode, encode
from pipeline.messages import ImageType
from pipeline.settings import settings
from tasks.enhance import improve
from tasks.runtime import Runtime


def enhance(
    source: Path,
    target: Path,
    *,
    model: str,
    image_type: ImageType,
    force: bool,
    raw: bool,
    json_output: bool,
) -> None:
    """Enhance one photo or a folder of them; exit status 1 when one of them failed."""
    chosen = settings()
    if model:
        chosen = chosen.model_copy(update={"enhancer": model})
    here = Runtime(chosen)
    try:
        here.model("enhancer")
    except ModelError as error:
        raise JustLensError(str(error)) from error
    pairs = _pairs(source, target)
    results = []
    with progress() as bars:
        bar = bars.add_task("enhancing", total=len(pairs), note="")
        for path, goal in pairs:
            started = time.perf_counter()
            try:
                result = (
                    _plain(path, goal, here)
                    if raw
                    else _one(path, goal, here, image_type=image_type, force=force)
                )
            except (JustLensError, ModelError, OSError) as error:
                result = {"source": str(path), "action": "failed", "reason": str(error)}
            results.append({**result, "seconds": round(time.perf_counter() - started, 3)})
            bars.advance(bar)
    if json_output:
        print_json(results)
    for result in results:
        if result["action"] == "failed":
            fail(f"{result['source']}: {result['reason']}")
        elif not json_output:
            out.print(
                f"{result['source']}: {result['before']} -> {result['after']}, "
                f"{result['action']} ({result['reason']}), {result['seconds']:.1f} s "
                f"-> {result['target']}",
                highlight=False,
            )
    if any(result["action"] == "failed" for result in results):
        raise typer.Exit(1)


def _one(
    path: Path, goal: Path, here: Runtime, *, image_type: ImageType, force: bool
) -> dict[str, object]:
    content = path.read_bytes()
    picture = decode(content, here.settings.max_pixels)
    improved = improve(
        picture,
        image_type,
        here,
        force=force,
        upscale=lambda kind, rgb, scale: here.model(kind)([rgb], scale)[0],
    )
    result, decision = improved.picture, improved.plan
    goal.parent.mkdir(parents=True, exist_ok=True)
    if decision.action == "kept":
        goal.write_bytes(content)
    elif goal.suffix.lower() in (".jpg", ".jpeg", ".webp", ""):
        encoded, _ = encode(result)
        goal.write_bytes(encoded)
    else:
        Image.fromarray(result.rgb).save(goal)
    return {
        "source": str(path),
        "target": str(goal),
        "action": decision.action,
        "reason": "left alone: " + decision.reason
        if decision.action == "kept"
        else decision.reason,
        "choice": improved.choice.reason,
        "before": f"{picture.width}x{picture.height}",
        "after": f"{result.width}x{result.height}",
        "model": improved.model,
    }


def _plain(path: Path, goal: Path, here: Runtime) -> dict[str, object]:
    """The network's own output: its largest scale, no policy, no loss in the file."""
    picture = decode(path.read_bytes(), here.settings.max_pixels)
    enhancer = here.model("enhancer")
    scale = max(enhancer.scales)
    result = enhancer([picture.rgb], scale)[0]
    goal.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(result).save(goal, "PNG")
    return {
        "source": str(path),
        "target": str(goal),
        "action": "enhanced",
        "reason": f"raw, x{scale}",
        "before": f"{picture.width}x{picture.height}",
        "after": f"{result.shape[1]}x{result.shape[0]}",
        "model": enhancer.identity,
    }


def _pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    if not source.is_dir():
        name = target / source.name if target.is_dir() else target
        return [(photo_files(source)[0], name)]
    return [(path, target / path.relative_to(source)) for path in photo_files(source)]
