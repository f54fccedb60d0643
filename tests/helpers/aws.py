"""A mock of AWS on this machine: fixtures for the tests that ask it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.sagemaker import BUCKET, REGION
from unspoken.launch.sagemaker import clients as sagemaker_clients

KEY_ID, SECRET, TOKEN = "AKIAPLANTEDKEYID0000", "planted/Secret+Key/0123456789", "plantedToken0123"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """moto's S3, SageMaker and CloudWatch over HTTP on this machine."""
    pytest.importorskip("boto3", reason="needs unspoken[sagemaker]")
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """An empty bucket; fake credentials, and no way to real ones or to a real service."""
    import boto3
    import requests

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    # a connection that a client has left would be told of where a test reads what is said
    monkeypatch.setattr("socketserver.BaseServer.handle_error", lambda *_: None)
    sagemaker_clients.session.cache_clear()
    requests.post(f"{server}/moto-api/reset", timeout=10)
    s3 = boto3.client("s3", region_name=REGION, endpoint_url=server)
    s3.create_bucket(Bucket=BUCKET)
    return s3


def keys_in(s3: Any) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


def outgoing(monkeypatch: pytest.MonkeyPatch, operation: str, answer: Any = None) -> list[Any]:
    """What is sent as `operation`, as JSON; with `answer` in place of the server's."""
    from botocore.awsrequest import AWSResponse

    seen: list[Any] = []
    make = sagemaker_clients.client

    def remember(request: Any, **_: Any) -> Any:
        seen.append(json.loads(request.body))
        if answer is None:
            return None
        body = SimpleNamespace(stream=lambda: [json.dumps(answer).encode()])
        return AWSResponse(request.url, 200, {}, body)

    def watched(service: str, region: str | None = None) -> Any:
        made = make(service, region)
        made.meta.events.register(f"before-send.{service}.{operation}", remember)
        return made

    monkeypatch.setattr("unspoken.launch.sagemaker.submit.client", watched)
    monkeypatch.setattr("unspoken.launch.sagemaker.jobs.client", watched)
    return seen
