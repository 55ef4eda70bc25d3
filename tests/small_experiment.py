"""A whole experiment that trains in a second, as a file."""

from pathlib import Path

import yaml

from amc_platform.files import write_text

SIZES = {
    "preset": "small",
    "vision_width": 16,
    "vision_depth": 1,
    "vision_heads": 2,
    "text_width": 16,
    "text_heads": 2,
    "text_feedforward": 16,
    "text_layers": 2,
    "fusion_layer": 1,
    "gradcam_layer": 1,
    "embedding_size": 8,
    "queue_size": 32,
}


def write_experiment(folder: Path, name: str = "test/small", **sections: object) -> Path:
    """Write `<folder>/spec.yaml`; `sections` replace those of the default."""
    spec = {
        "name": name,
        "model": SIZES,
        "data": {
            "table": str(folder / "scenes.parquet"),
            "prepare": {"source": "scenes", "train": 24, "val": 6, "test": 8, "unseen": 6},
            "images_per_batch": 6,
            "phrases_per_image": 2,
        },
        "objective": {"mask_words": "content", "mask_probability": 0.4, "false_negatives": "exclude"},
        "training": {
            "steps": 8,
            "lr": 0.01,
            "lr_min": 0.001,
            "warmup_steps": 2,
            "log_every": 2,
            "checkpoint_every": 2,
        },
        "evaluation": {"splits": ["test"], "every": 4, "gallery": 2},
        "output": str(folder / "runs"),
        **sections,
    }
    path = folder / "spec.yaml"
    # The ranks of a test write the same file at the same time.
    write_text(path, yaml.safe_dump(spec))
    return path
