"""Jobs that exist: their status, their log, stopping them, fetching what they made."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tacit.atomic import write_folder
from tacit.errors import OutputExistsError
from tacit.launch.sagemaker_clients import LaunchError, aws_errors, client

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
#: Statuses after which nothing more happens.
ENDED = ("Completed", "Failed", "Stopped")
_POLL_S = 10.0


def describe(name: str, region: str | None = None) -> dict[str, Any]:
    """What SageMaker says of a job; raises LaunchError where there is none."""
    with aws_errors(f"job {name}"):
        return client("sagemaker", region).describe_training_job(TrainingJobName=name)


def status_lines(job: dict[str, Any]) -> list[str]:
    """A job's status for people: where it stands, how long, why it failed, where results are."""
    lines = [f"{job['TrainingJobName']}: {_status(job)}"]
    transitions = job.get("SecondaryStatusTransitions") or []
    if transitions and transitions[-1].get("StatusMessage"):
        lines.append(f"  {transitions[-1]['StatusMessage'].strip()}")
    if job.get("TrainingTimeInSeconds"):
        billed = job.get("BillableTimeInSeconds")
        paid = f", of which paid: {billed:,} s" if billed is not None else ""
        lines.append(f"  time: {job['TrainingTimeInSeconds']:,} s{paid}")
    if job.get("FailureReason"):
        lines.append(f"  reason: {job['FailureReason'].strip()}")
    if job["TrainingJobStatus"] == "Completed":
        lines.append(f"  tacit launch sagemaker --fetch {job['TrainingJobName']} --output FOLDER")
    return lines


def log_lines(name: str, region: str | None = None) -> Iterator[str]:
    """What the job's hosts have printed up to now; with several hosts, each line with its host."""
    yield from _LogReader(name, region).new_lines()


def follow(
    name: str,
    region: str | None = None,
    say: Callable[[str], None] = lambda text: None,
    *,
    poll_s: float = _POLL_S,
) -> dict[str, Any]:
    """Tells the job's log and status until it ends; returns its description.

    Raises:
        LaunchError: the job failed or was stopped.
    """
    reader, status = _LogReader(name, region), ""
    while True:
        job = describe(name, region)
        for line in reader.new_lines():
            say(line)
        if _status(job) != status:
            status = _status(job)
            for line in status_lines(job):
                say(line)
        if job["TrainingJobStatus"] in ENDED:
            break
        time.sleep(poll_s)
    if job["TrainingJobStatus"] == "Failed":
        raise LaunchError(
            f"job {name} failed: {job.get('FailureReason', 'no reason given').strip()}; see "
            f"tacit launch sagemaker --logs {name}"
        )
    if job["TrainingJobStatus"] == "Stopped":
        raise LaunchError(
            f"job {name} was stopped; what it saved is kept; go on with it in a new job with "
            f"--resume {name}"
        )
    return job


def stop(name: str, region: str | None = None) -> None:
    """Asks the job to stop: it saves a checkpoint and ends within two minutes."""
    with aws_errors(f"stopping job {name}"):
        client("sagemaker", region).stop_training_job(TrainingJobName=name)


def fetch(
    name: str, output: Path, region: str | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Downloads a finished job's model and report into `output`; returns the files.

    Raises:
        OutputExistsError: the folder exists and `overwrite` is false.
        LaunchError: the job is not done, or its results are gone.
    """
    if output.exists() and not overwrite:
        raise OutputExistsError(
            f"{output}: exists already; needed: a new folder; name another --output, or allow "
            "replacing it with --overwrite"
        )
    job = describe(name, region)
    if job["TrainingJobStatus"] not in ENDED:
        raise LaunchError(f"job {name}: {_status(job)}; needed: one that has ended; wait for it")
    bucket, _, base = job["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").partition("/")
    prefix = f"{base.strip('/')}/{name}/output/".lstrip("/")
    place = f"s3://{bucket}/{prefix}"
    with aws_errors(f"results of job {name} in {place}"):
        store = client("s3", region)
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        keys = [key for key in keys if not key.endswith("/")]
        if not keys:
            raise LaunchError(f"{place}: nothing is there; the job {name} left no results")
        write_folder(output, lambda folder: _download(store, bucket, prefix, keys, folder))
    return sorted(path for path in output.rglob("*") if path.is_file())


def _download(store: Any, bucket: str, prefix: str, keys: list[str], folder: Path) -> None:
    from tqdm import tqdm

    for key in tqdm(keys, desc="fetch", unit="file"):
        relative = key.removeprefix(prefix)
        target = folder / relative
        if not target.resolve().is_relative_to(folder.resolve()):  # the bucket may be anyone's
            raise LaunchError(f"s3://{bucket}/{key}: points outside of the folder; not fetched")
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(bucket, key, str(target))
        if relative in ("model.tar.gz", "output.tar.gz"):  # of jobs that others created
            inside = folder / ("model" if relative == "model.tar.gz" else "data")
            with tarfile.open(target) as archive:
                archive.extractall(inside, filter="data")
            target.unlink()


class _LogReader:
    """New lines of all log streams of a job."""

    def __init__(self, name: str, region: str | None) -> None:
        self.name, self.logs = name, client("logs", region)
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        """What came since the last call; nothing while the job has not begun to print."""
        with aws_errors(f"log of job {self.name}"):
            streams = self._streams()
            for stream in streams:
                host = (
                    stream.removeprefix(f"{self.name}/").rpartition("-")[0] if streams[1:] else ""
                )
                for message in self._messages(stream):
                    yield f"[{host}] {message}" if host else message

    def _streams(self) -> list[str]:
        try:
            pages = self.logs.get_paginator("describe_log_streams").paginate(
                logGroupName=LOG_GROUP, logStreamNamePrefix=f"{self.name}/"
            )
            return [item["logStreamName"] for page in pages for item in page["logStreams"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []

    def _messages(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            found = self.logs.get_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            for event in found["events"]:
                yield event["message"].rstrip("\n")
            if found["nextForwardToken"] == token:  # CloudWatch's way of saying: no more yet
                return
            self._tokens[stream] = found["nextForwardToken"]


def _status(job: dict[str, Any]) -> str:
    status, more = job["TrainingJobStatus"], job.get("SecondaryStatus")
    return status if more in (None, status) else f"{status} ({more})"
