"""boto3, where it is installed, and what AWS says in one line.

Credentials come from boto3's own chain (environment, profile, single sign-on, role); tacit never
reads, passes on or writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tacit.errors import TacitError

_INSTALL = "pip install 'tacit[sagemaker]'"


class LaunchError(TacitError):
    """A job that could not be submitted, found or fetched."""


def client(service: str, region: str | None = None) -> Any:
    """A boto3 client; AWS_ENDPOINT_URL and the like hold as for every AWS tool.

    Raises:
        LaunchError: boto3 is missing, or no region is known.
    """
    boto3 = _boto3()
    with aws_errors(f"{service} client"):
        return boto3.Session().client(service, region_name=find_region(region))


def find_region(region: str | None = None) -> str:
    """The flag, AWS_REGION, AWS_DEFAULT_REGION, or what boto3 finds in the user's profile."""
    known = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    known = known or _boto3().Session().region_name
    if known is None:
        raise LaunchError(
            "--region: found none, and the AWS profile names none; needed: where to run; "
            "give --region us-east-1, or set AWS_REGION"
        )
    return known


@contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Within the block, what AWS and the network refuse is a LaunchError that names `doing`."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError):
        raise LaunchError(
            f"{doing}: no AWS credentials found; needed: those of a user or role that may do it; "
            "log in (aws sso login, aws configure) or set AWS_PROFILE"
        ) from None
    except ClientError as error:
        problem = error.response.get("Error", {})
        message = " ".join(str(problem.get("Message", "")).split())
        raise LaunchError(
            f"{doing}: AWS refused ({problem.get('Code', 'unknown')}: {message}); see "
            "Troubleshooting in docs/sagemaker.md"
        ) from error
    except BotoCoreError as error:
        raise LaunchError(f"{doing}: {' '.join(str(error).split())}; try again") from error


def _boto3() -> Any:
    try:
        import boto3
    except ImportError:
        raise LaunchError(
            "tacit launch sagemaker: boto3 is not installed; needed: the extra sagemaker; "
            f"{_INSTALL}"
        ) from None
    return boto3
