"""Kubernetes with KubeRay, by `kubectl`."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from amc_models.errors import InputError
from amc_platform.files import write_text
from amc_platform.jobs.launcher import JobState, State
from amc_platform.jobs.manifest import render
from amc_platform.jobs.record import Job
from amc_platform.jobs.target import KuberayTarget
from amc_platform.spec.yaml_text import to_yaml

MANIFEST = "manifest.yaml"
_DEPLOYMENTS: dict[str, State] = {
    "Complete": "done",
    "Failed": "failed",
    "Suspended": "stopped",
    "Suspending": "stopped",
    "Running": "running",
}


class KuberayLauncher:
    """A RayJob and the ConfigMap that it reads; without `kubectl` they are only written."""

    shares_files = False

    def __init__(self, target: KuberayTarget) -> None:
        self._target = target
        self.forced = ["cluster.address=auto"]

    def check(self, *, insecure: bool) -> None:
        """Nothing can be open: each job's cluster is made with a token of its own."""

    def write(self, job: Job) -> None:
        """Write `manifest.yaml`, checked against the pinned schema."""
        text = "---\n".join(to_yaml(manifest) for manifest in render(job, self._target))
        write_text(job.folder / MANIFEST, text)

    def send(self, job: Job) -> str:
        """Apply it."""
        path = job.folder / MANIFEST
        if shutil.which("kubectl") is None:
            return f"no kubectl here: kubectl apply --server-side -f {path}"
        # On the server's side: the client's way repeats the code in an annotation, which may hold 256 KiB.
        self._kubectl("apply", "--server-side", "-f", str(path))
        job.remember(namespace=self._target.namespace)
        return f"applied in namespace {self._target.namespace}"

    def state(self, job: Job) -> JobState:
        """As the RayJob's status says."""
        if not job.handle():
            return JobState("written")
        said = self._kubectl("get", "rayjob", job.name, "--ignore-not-found", "-o", "json")
        if not said.strip():
            return JobState("lost", "the RayJob was deleted")
        status: dict[str, Any] = json.loads(said).get("status", {})
        deployment = str(status.get("jobDeploymentStatus", ""))
        state = _DEPLOYMENTS.get(deployment, "waiting")
        if state == "done" and status.get("jobStatus") in ("FAILED", "STOPPED"):
            state = "failed" if status["jobStatus"] == "FAILED" else "stopped"
        return JobState(state, str(status.get("message") or status.get("reason") or deployment))

    def log(self, job: Job, *, follow: bool) -> Iterator[str]:
        """Of the pod that submitted the job, which prints the driver's output."""
        command = self._command("logs", f"job/{job.name}", *(["--follow"] if follow else []))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            yield from process.stdout
            problem = process.stderr.read().strip()
        if process.returncode:
            raise InputError(f"kubectl: {problem.splitlines()[-1] if problem else 'no log'}; ask again later")

    def stop(self, job: Job) -> None:
        """Suspend the RayJob: its cluster is deleted, its record stays."""
        self._kubectl("patch", "rayjob", job.name, "--type=merge", "--patch", '{"spec":{"suspend":true}}')

    def _command(self, *arguments: str) -> list[str]:
        context = [f"--context={self._target.context}"] if self._target.context else []
        return ["kubectl", *context, f"--namespace={self._target.namespace}", *arguments]

    def _kubectl(self, *arguments: str) -> str:
        try:
            command = self._command(*arguments)
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except FileNotFoundError as error:
            raise InputError("kubectl: not here; install it, or ask where it is") from error
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines()
            raise InputError(
                f"kubectl: {lines[-1] if lines else error}; check context and namespace"
            ) from error
