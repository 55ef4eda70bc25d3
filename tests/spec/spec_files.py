"""A small valid spec that tests vary."""

from collections.abc import Callable
from pathlib import Path

Write = Callable[[str, str], Path]

BASE = """\
name: scenes/quick
model: {preset: small, patch_size: 4}
start_from: ../pretrained
data:
  table: data/scenes.parquet
  prepare: {source: scenes, train: 8, val: 4, test: 4, unseen: 0}
  images_per_batch: 16
  flip: off
objective:
  amc:
    variant: amc
    delta_2: 0.4
training: {steps: 300, lr: 1e-4, lr_min: 1e-5, warmup_steps: 10}
"""
