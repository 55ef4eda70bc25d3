"""`amc schema`: the JSON schema of the experiment file, for editors."""

from amc_platform.cli.console import print_json


def schema() -> None:
    """Print the JSON schema of an experiment file: what editors complete and check it with."""
    from amc_platform.spec.json_schema import json_schema

    print_json(json_schema())
