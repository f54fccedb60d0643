"""Jobs that exist: their status, their log, stopping them, fetching what they made."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unspoken.common.errors import OutputExistsError, setting
from unspoken.common.files import write_folder, write_text
from unspoken.launch.sagemaker.clients import (
    LaunchError,
    UnreachableError,
    aws_errors,
    client,
    find_region,
)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
#: Statuses after which nothing more happens.
ENDED = ("Completed", "Failed", "Stopped")
_POLL_S = 10.0
#: How long the network may be away while a job is followed.
_PATIENCE_S = 900.0
#: What SageMaker calls a job that does not exist.
_NO_JOB = ("ValidationException", "ResourceNotFound")


def find_job(name: str, region: str | None = None, sagemaker: Any = None) -> dict[str, Any] | None:
    """What SageMaker says of a job; None where there is none.

    Raises:
        LaunchError: AWS refused, or cannot be reached.
    """
    sagemaker = sagemaker or client("sagemaker", region)
    with aws_errors(f"job {name}"):
        try:
            return sagemaker.describe_training_job(TrainingJobName=name)
        except sagemaker.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NO_JOB:
                return None
            raise


def describe(name: str, region: str | None = None, sagemaker: Any = None) -> dict[str, Any]:
    """What SageMaker says of a job, as `find_job`; raises LaunchError where there is none."""
    job = find_job(name, region, sagemaker)
    if job is None:
        raise LaunchError(
            f"job {name}: there is none in {find_region(region)}; needed: the name of a job of "
            f"your account; correct it, or give {setting('region')}"
        )
    return job


def command(flag: str, name: str, region: str | None = None) -> str:
    """The command that asks about a job, for people to copy.

    >>> command("--stop", "a-1", "us-east-1")
    'unspoken launch sagemaker --stop a-1 --region us-east-1'
    """
    where = f" --region {region}" if region else ""
    return f"unspoken launch sagemaker {flag} {name}{where}"


def goes_on(name: str, region: str | None = None) -> str:
    """What is said when a job is no longer followed before it has ended."""
    return (
        f"the job goes on; follow it again: {command('--logs', name, region)} --wait; stop it: "
        f"{command('--stop', name, region)}"
    )


def status_lines(job: dict[str, Any], region: str | None = None) -> list[str]:
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
        lines.append(f"  {command('--fetch', job['TrainingJobName'], region)} --output FOLDER")
    return lines


def log_lines(name: str, region: str | None = None) -> Iterator[str]:
    """What the job's hosts have printed up to now; with several hosts, each line with its host."""
    yield from LogReader(name, region).new_lines()


def follow(
    name: str,
    region: str | None = None,
    say: Callable[[str], None] = lambda text: None,
    *,
    poll_s: float = _POLL_S,
    patience_s: float = _PATIENCE_S,
) -> dict[str, Any]:
    """Tells the job's log and status until it ends; returns its description.

    It looks every `poll_s`; for `patience_s` AWS may be out of reach, or too busy.

    Raises:
        LaunchError: the job failed or was stopped, or can no longer be followed.
    """
    sagemaker, reader, status = client("sagemaker", region), LogReader(name, region), ""
    while True:
        try:
            job = _poll(sagemaker, reader, say, poll_s, patience_s)
        except LaunchError as error:
            if not status and not isinstance(error, UnreachableError):  # perhaps there is no job
                raise
            raise LaunchError(f"{error.args[0]}; {goes_on(name, region)}") from error
        if _status(job) != status:
            status = _status(job)
            for line in status_lines(job, region):
                say(line)
        if job["TrainingJobStatus"] in ENDED:
            _require_completed(job, region)
            return job
        time.sleep(poll_s)


def _poll(
    sagemaker: Any,
    reader: LogReader,
    say: Callable[[str], None],
    poll_s: float,
    patience_s: float,
) -> dict[str, Any]:
    """Tells what is new in the log, and returns the job's description; waits for the network."""
    begin, is_told = time.monotonic(), False
    while True:
        try:
            job = describe(reader.name, reader.region, sagemaker)
            if job["TrainingJobStatus"] in ENDED:  # the last lines of a log come late
                time.sleep(poll_s)
            for line in reader.new_lines():
                say(line)
            return job
        except UnreachableError as error:
            if time.monotonic() - begin > patience_s:
                raise
            if not is_told:
                say(f"{error}; unspoken does, for {patience_s / 60:.0f} minutes")
            is_told = True
            time.sleep(poll_s)


def _require_completed(job: dict[str, Any], region: str | None) -> None:
    name = job["TrainingJobName"]
    if job["TrainingJobStatus"] == "Failed":
        raise LaunchError(
            f"job {name} failed: {job.get('FailureReason', 'no reason given').strip()}; see "
            f"{command('--logs', name, region)}"
        )
    if job["TrainingJobStatus"] == "Stopped":
        raise LaunchError(
            f"job {name} was stopped; what it saved is kept; go on with it in a new job with "
            f"{setting('resume', name)}"
        )


def stop(name: str, region: str | None = None) -> None:
    """Asks the job to stop: it saves a checkpoint and ends within two minutes."""
    with aws_errors(f"stopping job {name}"):
        client("sagemaker", region).stop_training_job(TrainingJobName=name)


def fetch(
    name: str, output: Path, region: str | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Downloads a finished job's model and report into `output`; returns the files.

    What was fetched before a cut is kept in a hidden folder beside it and not fetched again.

    Raises:
        OutputExistsError: the folder exists and `overwrite` is false.
        LaunchError: the job is not done, its results are gone, or the network was cut.
    """
    if output.exists() and not overwrite:
        raise OutputExistsError(
            f"{output}: exists already; needed: a new folder; name another {setting('output')}, or "
            f"allow replacing it with {setting('overwrite', True)}"
        )
    job = describe(name, region)
    if job["TrainingJobStatus"] not in ENDED:
        raise LaunchError(f"job {name}: {_status(job)}; needed: one that has ended; wait for it")
    bucket, _, base = job["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").partition("/")
    prefix = f"{base.strip('/')}/{name}/output/".lstrip("/")
    place = f"s3://{bucket}/{prefix}"
    partial = output.parent / f".fetching-{output.name}-{name}"
    with aws_errors(f"results of job {name} in {place}"):
        store = client("s3", region)
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        items = [item for page in pages for item in page.get("Contents", [])]
        items = [item for item in items if not item["Key"].endswith("/")]
        if not items:
            raise LaunchError(f"{place}: nothing is there; the job {name} left no results")
        _download(store, bucket, prefix, items, partial)
    write_folder(output, lambda folder: _move_results(partial / "files", folder, place))
    shutil.rmtree(partial)
    return sorted(path for path in output.rglob("*") if path.is_file())


def _download(
    store: Any, bucket: str, prefix: str, items: list[dict[str, Any]], partial: Path
) -> None:
    """Into partial/files; partial/fetched.json has the ETags of those that are there."""
    from tqdm import tqdm

    folder, notes = partial / "files", partial / "fetched.json"
    fetched = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    for path in folder.rglob("*"):  # a part of a file that kill -9 left, say
        if path.is_file() and path.relative_to(folder).as_posix() not in fetched:
            path.unlink()
    for item in tqdm(items, desc="fetch", unit="file"):
        relative = item["Key"].removeprefix(prefix)
        target = folder / relative
        if not target.resolve().is_relative_to(folder.resolve()):  # the bucket may be anyone's
            raise LaunchError(
                f"s3://{bucket}/{item['Key']}: points outside of the folder; not fetched"
            )
        is_whole = target.is_file() and target.stat().st_size == item["Size"]
        if is_whole and fetched.get(relative) == item["ETag"]:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(bucket, item["Key"], str(target))
        fetched[relative] = item["ETag"]
        write_text(notes, json.dumps(fetched))


def _move_results(source: Path, folder: Path, place: str) -> None:
    """Everything in `source` to `folder`; archives, as jobs that others created have, unpacked.

    They come first: where one cannot be unpacked, all that was fetched is still in `source`.

    Raises:
        LaunchError: an archive is damaged, or leads out of the folder; its place has this name.
    """
    inside = {"model.tar.gz": "model", "output.tar.gz": "data"}
    for name in inside.keys() & {path.name for path in source.iterdir()}:
        try:
            with tarfile.open(source / name) as archive:
                archive.extractall(folder / inside[name], filter="data")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise LaunchError(
                f"{place}{name}: cannot be unpacked ({error}); needed: an archive that is whole, "
                f"without links that lead out of it; its copy is {source / name}"
            ) from error
    for path in source.iterdir():
        if path.name not in inside:
            path.rename(folder / path.name)


class LogReader:
    """New lines of all log streams of a job."""

    def __init__(self, name: str, region: str | None) -> None:
        self.name, self.region, self.logs = name, region, client("logs", region)
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
