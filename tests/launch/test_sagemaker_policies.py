"""The policies that docs/sagemaker.md tells people to attach."""

from __future__ import annotations

import json

from helpers.paths import DOCS


def test_policies_in_the_docs_are_json_and_name_no_wildcard_action() -> None:
    folder = DOCS / "sagemaker-policies"
    files = sorted(folder.glob("*.json"))
    policies = [path for path in files if path.stem != "lifecycle"]
    assert [path.stem for path in policies] == ["bucket", "execution-role", "trust", "user"]
    for path in policies:
        for statement in json.loads(path.read_text())["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert not action.endswith(":*") or statement["Effect"] == "Deny", (path, action)


def test_role_and_user_may_remove_checkpoints() -> None:
    """SageMaker removes on S3 what is removed in the container; old checkpoints cost money."""
    folder = DOCS / "sagemaker-policies"
    for name in ("execution-role", "user"):
        statements = json.loads((folder / f"{name}.json").read_text())["Statement"]
        places = [one["Resource"] for one in statements if "s3:DeleteObject" in one["Action"]]
        assert any("arn:aws:s3:::BUCKET/unspoken/checkpoints/*" in place for place in places)
