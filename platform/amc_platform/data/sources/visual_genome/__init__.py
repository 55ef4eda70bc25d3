"""Visual Genome: texts made from objects and their places, and region descriptions. The rules: data/README.md."""

from amc_platform.data.sources.visual_genome.entries import scan
from amc_platform.data.sources.visual_genome.read import Texts, origins, read_visual_genome

__all__ = ["Texts", "origins", "read_visual_genome", "scan"]
