"""boto3, where it is installed, and what AWS says in one line.

Credentials come from boto3's own chain (environment, profile, single sign-on, role); unspoken never
reads, passes on or writes them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from unspoken.common.errors import SettingError, UnspokenError, setting, shorten

_INSTALL = "pip install 'unspoken[sagemaker]'"
_REGION = r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}"
#: What AWS says of credentials that were good once, or never were.
_LOGIN_CODES = ("InvalidClientTokenId", "UnrecognizedClientException")
#: What AWS says when it is asked too much; others contain "Throttl".
_BUSY_CODES = ("TooManyRequestsException", "RequestLimitExceeded", "SlowDown")


class LaunchError(UnspokenError):
    """A job that could not be submitted, found or fetched."""


class UnreachableError(LaunchError):
    """The network or a service that has too much to do; a minute later it may work."""


def client(service: str, region: str | None = None) -> Any:
    """A boto3 client; AWS_ENDPOINT_URL and the like hold as for every AWS tool.

    Raises:
        LaunchError: boto3 is missing, no region is known, or the AWS profile cannot be used.
    """
    with aws_errors(f"{service} client"):
        return session().client(service, region_name=find_region(region))


def find_region(region: str | None = None) -> str:
    """The given one, AWS_REGION, AWS_DEFAULT_REGION, or what boto3 finds in the user's profile.

    Raises:
        LaunchError: there is none, or the AWS profile cannot be used.
        SettingError: it is none, such as a zone of one.
    """
    known = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not known:
        with aws_errors(f"{setting('region')}: looked for it in the AWS profile"):
            known = session().region_name
    if known is None:
        raise LaunchError(
            f"{setting('region')}: found none, and the AWS profile names none; needed: where to "
            f"run; give {setting('region', 'us-east-1')}, or set AWS_REGION"
        )
    if not re.fullmatch(_REGION, known, flags=re.ASCII):
        source = "" if region else ", from AWS_REGION, AWS_DEFAULT_REGION or the AWS profile"
        raise SettingError(
            "region",
            found=f"{shorten(known)}{source}",
            needed="the name of a region, such as eu-central-1",
            remedy="correct it",
        )
    return known


@contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Within the block, what AWS and the network refuse is a LaunchError that names `doing`.

    What may work a minute later is an UnreachableError.
    """
    _boto3()
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as aws

    try:
        yield
    except (aws.NoCredentialsError, aws.PartialCredentialsError):
        raise LaunchError(
            f"{doing}: no AWS credentials found; needed: those of a user or role that may do it; "
            "log in (aws sso login, aws configure) or set AWS_PROFILE"
        ) from None
    except (
        aws.SSOError,
        aws.TokenRetrievalError,
        aws.CredentialRetrievalError,
        aws.ProfileNotFound,
    ) as error:
        raise _login_error(doing, _one_line(error)) from error
    except aws.ClientError as error:
        raise _refusal(doing, error.response) from error
    except aws.EndpointConnectionError as error:  # a region that is none looks like no network
        remedy = f"see whether {setting('region')} is right, and try again"
        raise UnreachableError(f"{doing}: {_one_line(error)}; {remedy}") from error
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise UnreachableError(f"{doing}: {_one_line(error)}; try again") from error
    except (aws.BotoCoreError, Boto3Error) as error:
        raise LaunchError(f"{doing}: {_one_line(error)}; try again") from error


def _refusal(doing: str, response: Any) -> LaunchError:
    """What AWS answered in place of doing it, as an error with what to do."""
    problem = response.get("Error", {})
    code, message = str(problem.get("Code", "unknown")), _one_line(problem.get("Message", ""))
    if code in _LOGIN_CODES or code.startswith("ExpiredToken"):
        return _login_error(doing, f"AWS refused ({code}: {message})")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or status == 429 or code in _BUSY_CODES or "Throttl" in code:
        return UnreachableError(f"{doing}: AWS is busy ({code}: {message}); try again")
    return LaunchError(
        f"{doing}: AWS refused ({code}: {message}); see Troubleshooting in docs/sagemaker.md"
    )


def _login_error(doing: str, reason: str) -> LaunchError:
    return LaunchError(f"{doing}: {reason}; log in again: aws sso login, or set AWS_PROFILE")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


@lru_cache(maxsize=1)
def session() -> Any:
    """One for all clients: every new one would ask for credentials, and people for a code."""
    return _boto3().Session()


def _boto3() -> Any:
    try:
        import boto3
    except ImportError:
        raise LaunchError(
            "unspoken launch sagemaker: boto3 is not installed; needed: the extra sagemaker; "
            f"{_INSTALL}"
        ) from None
    return boto3
