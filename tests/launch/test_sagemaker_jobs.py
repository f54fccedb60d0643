# ruff: noqa: F811 (fixtures are imported, and then named as arguments)
from __future__ import annotations

import os
import signal
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.aws import aws, outgoing, server  # noqa: F401
from helpers.sagemaker import BUCKET, FLAGS, REGION, command, settings, write_recipe
from unspoken.common.errors import OutputExistsError
from unspoken.launch.sagemaker import clients as sagemaker_clients
from unspoken.launch.sagemaker import jobs as sagemaker_jobs
from unspoken.launch.sagemaker.clients import LaunchError
from unspoken.launch.sagemaker.submit import prepare, submit

pytestmark = pytest.mark.integration  # a mocked AWS over HTTP


def write_log(server: str, name: str, streams: dict[str, list[str]]) -> None:
    import boto3

    logs = boto3.client("logs", region_name=REGION, endpoint_url=server)
    logs.create_log_group(logGroupName=sagemaker_jobs.LOG_GROUP)
    for host, lines in streams.items():
        place = {
            "logGroupName": sagemaker_jobs.LOG_GROUP,
            "logStreamName": f"{name}/{host}-1795340000",
        }
        logs.create_log_stream(**place)
        now = 1_795_340_000_000
        events = [{"timestamp": now + i, "message": line} for i, line in enumerate(lines)]
        logs.put_log_events(logEvents=events, **place)


def test_the_log_is_told_once_and_with_hosts(aws: Any, server: str, tmp_path: Path) -> None:
    assert list(sagemaker_jobs.log_lines("tiny-1", REGION)) == []
    write_log(server, "tiny-1", {"algo-1": ["one", "two"], "algo-2": ["three"]})
    reader = sagemaker_jobs.LogReader("tiny-1", REGION)
    assert list(reader.new_lines()) == ["[algo-1] one", "[algo-1] two", "[algo-2] three"]
    assert list(reader.new_lines()) == []


def job(status: str, **more: Any) -> dict[str, Any]:
    return {"TrainingJobName": "tiny-1", "TrainingJobStatus": status, **more}


def test_following_ends_with_the_job(
    aws: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(server, "tiny-1", {"algo-1": ["metric internalized train step=1 loss=2.0"]})
    answers = [
        job("InProgress", SecondaryStatus="Starting"),
        job("InProgress", SecondaryStatus="Training"),
        job("Completed", SecondaryStatus="Completed", TrainingTimeInSeconds=9),
    ]
    monkeypatch.setattr(sagemaker_jobs, "describe", lambda *_: answers.pop(0))
    said: list[str] = []
    sagemaker_jobs.follow("tiny-1", REGION, said.append, poll_s=0)
    assert said == [
        "metric internalized train step=1 loss=2.0",
        "tiny-1: InProgress (Starting)",
        "tiny-1: InProgress (Training)",
        "tiny-1: Completed",
        "  time: 9 s",
        f"  unspoken launch sagemaker --fetch tiny-1 --region {REGION} --output FOLDER",
    ]
    answers = [job("Failed", FailureReason="AlgorithmError: error")]
    with pytest.raises(LaunchError, match=r"job tiny-1 failed: AlgorithmError: error; see"):
        sagemaker_jobs.follow("tiny-1", REGION, poll_s=0)
    answers = [job("Stopped")]
    with pytest.raises(LaunchError, match="resume=tiny-1"):
        sagemaker_jobs.follow("tiny-1", REGION, poll_s=0)


def test_what_a_job_prints_at_its_end_is_told_before_it_ends(
    aws: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sagemaker_jobs, "describe", lambda *_: job("Completed"))
    clock = SimpleNamespace(  # of this module alone: the server's threads sleep, too
        monotonic=time.monotonic,
        sleep=lambda _: write_log(server, "tiny-1", {"algo-1": ["late"]}),
    )
    monkeypatch.setattr(sagemaker_jobs, "time", clock)
    said: list[str] = []
    sagemaker_jobs.follow("tiny-1", REGION, said.append)
    assert said[:2] == ["late", "tiny-1: Completed"]


def failing(monkeypatch: pytest.MonkeyPatch, errors: list[Exception]) -> None:
    """`describe` as AWS would answer it: these errors first, and then a job that is completed."""

    def answer(*_: Any) -> dict[str, Any]:
        if not errors:
            return job("Completed")
        with sagemaker_clients.aws_errors("job tiny-1"):
            raise errors.pop(0)

    monkeypatch.setattr(sagemaker_jobs, "describe", answer)


def refusal(code: str, status: int = 400) -> Exception:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": code, "Message": "no"}}
    return ClientError({**answer, "ResponseMetadata": {"HTTPStatusCode": status}}, "Describe")


def test_the_network_may_be_away_while_a_job_is_followed(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

    def errors() -> list[Exception]:
        return [
            EndpointConnectionError(endpoint_url="https://x"),
            ConnectTimeoutError(endpoint_url="https://x"),
            refusal("ThrottlingException"),
            refusal("InternalFailure", 503),
        ]

    failing(monkeypatch, errors())
    said: list[str] = []
    sagemaker_jobs.follow("tiny-1", REGION, said.append, poll_s=0)
    told = "see whether region is right, and try again; unspoken does, for 15 minutes"
    assert said[0].endswith(told)
    assert said[1] == "tiny-1: Completed", "it is told once"
    failing(monkeypatch, errors())
    with pytest.raises(LaunchError, match=r"the job goes on; follow it again: .*--logs tiny-1"):
        sagemaker_jobs.follow("tiny-1", REGION, poll_s=0, patience_s=-1)


def test_a_job_that_can_no_longer_be_followed_goes_on(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [job("InProgress")]

    def answer(*_: Any) -> dict[str, Any]:
        if answers:
            return answers.pop()
        with sagemaker_clients.aws_errors("job tiny-1"):
            raise refusal("ExpiredTokenException")

    monkeypatch.setattr(sagemaker_jobs, "describe", answer)
    with pytest.raises(LaunchError, match=r"log in again: aws sso login.*; the job goes on; .*"):
        sagemaker_jobs.follow("tiny-1", REGION, poll_s=0)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_credentials_that_are_no_longer_good_say_how_to_log_in(aws: Any, code: str) -> None:
    from botocore.exceptions import ProfileNotFound, UnauthorizedSSOTokenError

    errors: list[Exception] = [refusal(code), ProfileNotFound(profile="nope")]
    for error in [*errors, UnauthorizedSSOTokenError()]:
        with (
            pytest.raises(LaunchError, match="log in again: aws sso login, or set AWS_PROFILE"),
            sagemaker_clients.aws_errors("job"),
        ):
            raise error


def test_a_profile_that_does_not_exist_is_said_in_one_line(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    for region in (None, REGION):
        sagemaker_clients.session.cache_clear()
        with pytest.raises(LaunchError, match=r"nope.*log in again"):
            sagemaker_clients.client("s3", region)
    with pytest.raises(LaunchError, match=r"region: .*nope.*log in again"):
        sagemaker_clients.find_region()


def test_credentials_are_asked_for_once(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    made: list[Any] = []
    session = boto3.Session
    monkeypatch.setattr(boto3, "Session", lambda: made.append(1) or session())
    for service in ("s3", "sagemaker", "s3"):
        sagemaker_clients.client(service, REGION)
    assert made == [1]


def test_a_job_is_stopped(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = outgoing(monkeypatch, "StopTrainingJob", answer={})
    sagemaker_jobs.stop("tiny-1", REGION)
    assert sent == [{"TrainingJobName": "tiny-1"}]


def test_results_are_fetched_whole_or_not_at_all(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1")), progress=False)
    output = tmp_path / "fetched"
    with pytest.raises(LaunchError, match="nothing is there"):
        sagemaker_jobs.fetch("tiny-1", output, REGION)
    for name in ("model/model.safetensors", "data/report.html"):
        aws.put_object(
            Bucket=BUCKET, Key=f"unspoken/output/tiny-1/output/{name}", Body=name.encode()
        )
    found = sagemaker_jobs.fetch("tiny-1", output, REGION)
    assert [path.relative_to(output).as_posix() for path in found] == [
        "data/report.html",
        "model/model.safetensors",
    ]
    with pytest.raises(OutputExistsError):
        sagemaker_jobs.fetch("tiny-1", output, REGION)
    aws.put_object(Bucket=BUCKET, Key="unspoken/output/tiny-1/output/../../outside", Body=b"x")
    with pytest.raises(LaunchError, match="points outside"):
        sagemaker_jobs.fetch("tiny-1", tmp_path / "second", REGION)
    assert not (tmp_path / "second").exists()
    assert not (tmp_path / "outside").exists()


def test_a_fetch_that_was_cut_goes_on(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boto3.exceptions import RetriesExceededError

    submit(prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1")), progress=False)
    for name in ("a", "model/b", "model/c"):
        aws.put_object(
            Bucket=BUCKET, Key=f"unspoken/output/tiny-1/output/{name}", Body=name.encode()
        )
    fetched: list[str] = []
    is_cut = True
    make = sagemaker_jobs.client

    def watched(service: str, region: str | None = None) -> Any:
        made = make(service, region)
        if service == "s3":
            download = made.download_file

            def download_file(bucket: str, key: str, path: str) -> None:
                if is_cut and len(fetched) == 2:
                    Path(f"{path}.0aF3").write_bytes(b"a part")  # what kill -9 would leave
                    raise RetriesExceededError(OSError("cut"))
                fetched.append(key.rpartition("/")[2])
                download(bucket, key, path)

            made.download_file = download_file
        return made

    monkeypatch.setattr(sagemaker_jobs, "client", watched)
    output = tmp_path / "fetched"
    with pytest.raises(LaunchError, match=r"results of job tiny-1 in s3://.*try again"):
        sagemaker_jobs.fetch("tiny-1", output, REGION)
    assert (fetched, output.exists()) == (["a", "b"], False)
    is_cut = False
    aws.put_object(Bucket=BUCKET, Key="unspoken/output/tiny-1/output/a", Body=b"A")
    sagemaker_jobs.fetch("tiny-1", output, REGION)
    assert fetched == ["a", "b", "a", "c"], "one is another now, and one was missing"
    whole = {path.name: path.read_text() for path in output.rglob("*") if path.is_file()}
    assert whole == {"a": "A", "b": "model/b", "c": "model/c"}
    assert not list(tmp_path.glob(".*")), "nothing stays beside it"


def test_archives_of_jobs_that_others_created_are_unpacked(aws: Any, tmp_path: Path) -> None:
    submit(prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1")), progress=False)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(write_recipe(tmp_path / "x"), "config.json")
    body = (tmp_path / "model.tar.gz").read_bytes()
    aws.put_object(Bucket=BUCKET, Key="unspoken/output/tiny-1/output/model.tar.gz", Body=body)
    (path,) = sagemaker_jobs.fetch("tiny-1", tmp_path / "fetched", REGION)
    assert path == tmp_path / "fetched" / "model" / "config.json"


@pytest.mark.parametrize("fault", ["a link out of it", "cut", "no archive"])
def test_an_archive_that_cannot_be_unpacked_costs_nothing_that_was_fetched(
    aws: Any, tmp_path: Path, fault: str
) -> None:
    submit(prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1")), progress=False)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(write_recipe(tmp_path / "x"), "config.json")
        if fault == "a link out of it":
            (tmp_path / "link").symlink_to("/etc/passwd")
            archive.add(tmp_path / "link", "weights")
    body = (tmp_path / "model.tar.gz").read_bytes()
    body = {"cut": body[: len(body) // 2], "no archive": b"no"}.get(fault, body)
    place = "unspoken/output/tiny-1/output"
    for name, content in (("model.tar.gz", body), ("report.json", b"{}")):
        aws.put_object(Bucket=BUCKET, Key=f"{place}/{name}", Body=content)
    told = rf"^s3://{BUCKET}/{place}/model.tar.gz: cannot be unpacked"
    with pytest.raises(LaunchError, match=told):
        sagemaker_jobs.fetch("tiny-1", tmp_path / "fetched", REGION)
    assert not (tmp_path / "fetched").exists()
    kept = tmp_path / ".fetching-fetched-tiny-1" / "files"
    assert sorted(path.name for path in kept.iterdir()) == ["model.tar.gz", "report.json"]


def test_a_log_that_there_is_not_is_no_success(
    aws: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LaunchError, match="job absent: there is none"):
        command("--logs", "absent", "--region", REGION)
    submit(prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1")), progress=False)
    command("--logs", "tiny-1", "--region", REGION)
    assert capsys.readouterr().err == "tiny-1: has printed nothing yet (Completed)\n"


def test_printed_commands_say_the_region(
    aws: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(write_recipe(tmp_path), *FLAGS, "--job-name", "tiny-1")
    command("--status", "tiny-1", "--region", REGION)
    lines = [line for line in capsys.readouterr().out.splitlines() if "unspoken launch" in line]
    assert len(lines) == 3
    assert all(f"tiny-1 --region {REGION}" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_job_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sagemaker_jobs, "follow", interrupted)
    with pytest.raises(SystemExit) as caught:
        command("--logs", "tiny-1", "--wait", "--region", REGION)
    assert caught.value.code == 130
    assert "the job goes on; follow it again" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_leaves_the_job_alone(
    aws: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sagemaker_jobs, "follow", interrupted)
    with pytest.raises(SystemExit) as caught:
        command(write_recipe(tmp_path), *FLAGS, "--job-name", "tiny-1", "--wait")
    assert caught.value.code == 130
    assert "the job goes on" in capsys.readouterr().out
    assert sagemaker_jobs.describe("tiny-1", REGION)["TrainingJobName"] == "tiny-1"
