"""`amc prepare`: a dataset becomes a grounding table; one file a source."""

import typer

from amc_platform.cli.prepare import coco, flickr30k_entities, refer, scenes, visual_genome

app = typer.Typer(no_args_is_help=True, help="Turn a dataset into a grounding table.")
app.command("scenes")(scenes.scenes)
app.command("flickr30k-entities")(flickr30k_entities.flickr30k_entities)
app.command("refcoco")(refer.refcoco)
app.command("referit")(refer.referit)
app.command("coco")(coco.coco)
app.command("visual-genome")(visual_genome.visual_genome)
