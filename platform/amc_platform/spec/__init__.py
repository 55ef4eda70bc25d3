"""The experiment file: what it may say, how it is read, what makes two of them the same. Imports no torch."""

from amc_platform.spec.cluster import ClusterSpec, WorkerRange
from amc_platform.spec.entries import flatten
from amc_platform.spec.identity import evaluation_identity, identity, training_identity
from amc_platform.spec.json_schema import json_schema
from amc_platform.spec.loading import Trial, dump_experiment, expand_trials, load_experiment, to_mapping
from amc_platform.spec.schema import DataSpec, EvaluationSpec, Experiment
from amc_platform.spec.search import AshaSpec, BudgetSpec, Dimension, OptunaSpec, SearchSpec, TrialSpec
from amc_platform.spec.sources import Flickr30kSource, ScenesSource
from amc_platform.spec.tracking import TrackingSpec
from amc_platform.spec.training import EarlyStoppingSpec, TrainingSpec
from amc_platform.spec.unused import unused_options
from amc_platform.spec.values import is_published

__all__ = [
    "AshaSpec",
    "BudgetSpec",
    "ClusterSpec",
    "DataSpec",
    "Dimension",
    "EarlyStoppingSpec",
    "EvaluationSpec",
    "Experiment",
    "Flickr30kSource",
    "OptunaSpec",
    "ScenesSource",
    "SearchSpec",
    "TrackingSpec",
    "TrainingSpec",
    "Trial",
    "TrialSpec",
    "WorkerRange",
    "dump_experiment",
    "evaluation_identity",
    "expand_trials",
    "flatten",
    "identity",
    "is_published",
    "json_schema",
    "load_experiment",
    "to_mapping",
    "training_identity",
    "unused_options",
]
