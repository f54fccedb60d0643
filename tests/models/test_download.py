from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from helpers.disks import small_disk
from helpers.patience import Deadline
from helpers.rights import like_another_user
from unspoken.cli.download import download
from unspoken.cli.main import main
from unspoken.common.errors import DataError, OutputExistsError, RecipeError, UnspokenError
from unspoken.common.locks import locked
from unspoken.models import download as download_module
from unspoken.models.download import (
    Download,
    finish_download,
    plan_download,
    require_space,
    verify_download,
)
from unspoken.models.hub import DownloadError, HubUnreachableError, choose_files

COMMIT, LATER = "a" * 40, "b" * 40
WEIGHTS = bytes(range(256)) * 1024
FILES = {
    "config.json": b'{"model_type": "qwen2"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled",
    "modeling_own.py": b"print('run')",
    "onnx/model.onnx": b"other",
    "sub/empty.txt": b"",
    ".gitattributes": b"lfs",
}
WANTED = {"config.json", "tokenizer.json", "model.safetensors", "sub/empty.txt"}


@dataclass
class Hub:
    """A hub on loopback.

    Attributes:
        files: of the model Owner/Model.
        commit: of its main branch.
        requests: (path, Range header) of every request for a file's content.
        logins: Authorization headers that came.
        cut: after so many bytes a response stops, until `release` is set.
        wrong: send other bytes than listed.
        ignore_range: answer a range with everything.
    """

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    commit: str = COMMIT
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    logins: set[str | None] = field(default_factory=set)
    num_listed: int = 0
    cut: int | None = None
    wrong: bool = False
    ignore_range: bool = False
    release: threading.Event = field(default_factory=threading.Event)

    def listing(self) -> dict[str, Any]:
        siblings = []
        for path, content in self.files.items():
            size, blob = len(content), f"blob {len(content)}\0".encode()
            entry: dict[str, Any] = {"rfilename": path, "size": size}
            entry["blobId"] = hashlib.sha1(blob + content).hexdigest()
            if path.endswith((".safetensors", ".bin")):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"size": size, "sha256": digest, "pointerSize": 100}
            siblings.append(entry)
        return {"id": "Owner/Model", "sha": self.commit, "siblings": siblings}


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.hub.cut is not None and len(body) > self.hub.cut:
            self.wfile.write(body[: self.hub.cut])
            self.wfile.flush()
            self.hub.release.wait(600)
            self.close_connection = True
        else:
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.logins.add(self.headers.get("Authorization"))
        if path.startswith("/api/models/"):
            self.hub.num_listed += 1
            self._list(path.removeprefix("/api/models/"))
        else:
            self._resolve(path)

    def _list(self, path: str) -> None:
        repo, _, revision = path.partition("/revision/")
        if repo == "Owner/Gated":
            self._answer(403, b"{}", X_Error_Code="GatedRepo")
        elif repo != "Owner/Model":
            self._answer(404, b"{}", X_Error_Code="RepoNotFound")
        elif revision not in ("", "main", self.hub.commit):
            self._answer(404, b"{}", X_Error_Code="RevisionNotFound")
        else:
            self._answer(200, json.dumps(self.hub.listing()).encode())

    def _resolve(self, path: str) -> None:
        name = path.partition(f"/resolve/{self.hub.commit}/")[2]
        if name not in self.hub.files:  # a library asks for something of its own now and then
            self._answer(404, b"")
            return
        wanted = self.headers.get("Range")
        self.hub.requests.append((name, wanted))
        body = self.hub.files[name]
        if self.hub.wrong:
            body = bytes(len(body))
        if wanted and not self.hub.ignore_range:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._answer(206, body[start:], ETag="x", Content_Range=span)
        else:
            self._answer(200, body, ETag="x")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process and its children ask in place of the real one."""
    from huggingface_hub import constants

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    yield hub
    hub.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def download_model(repo: str, folder: Path, **how: Any) -> Download:
    """As the verb does with one model."""
    plan = plan_download(repo, folder, **how)
    require_space([plan])
    return finish_download(plan)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def stop(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there any more."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hub.requests.clear()


def test_a_model_arrives_whole_checked_and_pinned(hub: Hub, tmp_path: Path) -> None:
    done = download_model("Owner/Model", tmp_path / "teacher")
    assert names(tmp_path / "teacher") == WANTED | {"download.json"}
    assert (tmp_path / "teacher" / "model.safetensors").read_bytes() == WEIGHTS
    assert done.weights == "safetensors"
    record = json.loads((tmp_path / "teacher" / "download.json").read_text())
    assert (record["repo"], record["revision"], record["commit"]) == (
        "Owner/Model", "main", COMMIT,
    )  # fmt: skip
    hashes = {file["path"]: (file["size"], file["sha256"]) for file in record["files"]}
    for path in WANTED:
        assert hashes[path] == (len(FILES[path]), hashlib.sha256(FILES[path]).hexdigest())
    assert list(tmp_path.iterdir()) == [tmp_path / "teacher"]


def test_a_second_call_does_nothing_with_and_without_a_network(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "student"
    download_model("Owner/Model", folder)
    hub.requests.clear()
    again = download_model("Owner/Model", folder)
    assert (again.missing, again.hub_asked, hub.requests) == ((), True, [])
    hub.num_listed = 0
    pinned = download_model("Owner/Model", folder, revision=COMMIT)
    assert (pinned.commit, pinned.hub_asked, hub.num_listed) == (COMMIT, False, 0)
    stop(hub, monkeypatch)
    alone = download_model("Owner/Model", folder)
    assert (alone.commit, alone.hub_asked) == (COMMIT, False)
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1])
    with pytest.raises(HubUnreachableError, match="needed: a network"):
        download_model("Owner/Model", folder)


def test_a_damaged_file_is_fetched_again_alone(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    download_model("Owner/Model", folder)
    (folder / "tokenizer.json").unlink()
    hub.requests.clear()
    download_model("Owner/Model", folder)
    assert hub.requests == [("tokenizer.json", None)]
    assert (folder / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]


def _num_bytes(staging: Path) -> int:
    """Of all that has arrived in part."""
    with contextlib.suppress(FileNotFoundError):  # one is whole just now
        return sum(path.stat().st_size for path in staging.glob("*.part"))
    return 0


@pytest.mark.integration
@pytest.mark.parametrize("ignore_range", [False, True])
def test_after_a_kill_it_goes_on_in_the_middle_of_a_file(
    hub: Hub, tmp_path: Path, ignore_range: bool
) -> None:
    hub.cut = 100_000
    folder = tmp_path / "student"
    code = (
        "from huggingface_hub import constants; constants.DOWNLOAD_CHUNK_SIZE = 4096\n"
        "from unspoken.models.download import finish_download, plan_download\n"
        f"finish_download(plan_download('Owner/Model', {str(folder)!r}))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment["HF_ENDPOINT"] = hub.endpoint
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    staging = tmp_path / ".downloading-student"
    deadline = Deadline(60)
    while _num_bytes(staging) < 90_000:
        assert not deadline.has_passed
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists()
    half = next(staging.glob("*.part")).stat().st_size
    assert 90_000 <= half < len(WEIGHTS)
    hub.cut, hub.ignore_range = None, ignore_range
    hub.release.set()
    before = {path for path, _ in hub.requests}
    hub.requests.clear()
    download_model("Owner/Model", folder)
    assert hub.requests[0] == ("model.safetensors", f"bytes={half}-")
    assert {path for path, _ in hub.requests} & (before - {"model.safetensors"}) == set()
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not staging.exists()


@pytest.mark.parametrize("num_moved", [1, 3, 4])
def test_after_a_kill_while_files_are_put_in_place_none_is_fetched_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_moved: int
) -> None:
    folder = tmp_path / "student"
    moved: list[Path] = []

    def kill(file: Path, target: Path) -> Path:
        if len(file.name) == 32 and ".downloading-student" in str(target):
            if len(moved) == num_moved:
                raise KeyboardInterrupt
            moved.append(target)
        return replace(file, target)

    replace = Path.replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", kill)
        if num_moved == len(WANTED):
            patch.setattr(Path, "rename", lambda *_: kill(Path("0" * 32), moved[0]))
        download_model("Owner/Model", folder)
    assert len(moved) == num_moved
    hub.requests.clear()
    plan = plan_download("Owner/Model", folder)
    assert plan.num_missing_bytes == 0
    finish_download(plan)
    assert hub.requests == []
    assert names(folder) == WANTED | {"download.json"}
    assert not verify_download(folder).missing
    assert not (tmp_path / ".downloading-student").exists()


def test_what_does_not_match_the_hubs_hash_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.wrong = True
    with pytest.raises(DownloadError, match=r"config.json: what arrived .* is not what"):
        download_model("Owner/Model", tmp_path / "student")
    assert not (tmp_path / "student").exists()
    hub.files["config.json"] = bytes(len(FILES["config.json"]))  # this one is as listed now
    with pytest.raises(DownloadError, match=r"model.safetensors|tokenizer.json"):
        download_model("Owner/Model", tmp_path / "student")
    hub.wrong, hub.files["config.json"] = False, FILES["config.json"]
    download_model("Owner/Model", tmp_path / "student")
    assert (tmp_path / "student" / "config.json").read_bytes() == FILES["config.json"]


def test_code_comes_only_when_asked_for(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    download_model("Owner/Model", folder)
    assert not (folder / "modeling_own.py").exists()
    hub.requests.clear()
    done = download_model("Owner/Model", folder, with_code=True)
    assert hub.requests == [("modeling_own.py", None)]
    assert done.with_code
    assert Download.read(folder) == done
    hub.requests.clear()
    download_model("Owner/Model", folder)
    assert hub.requests == []
    assert (folder / "modeling_own.py").exists()


def test_pickles_are_taken_only_where_there_is_nothing_else(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    assert download_model("Owner/Model", tmp_path / "student").weights == "bin"
    assert (tmp_path / "student" / "pytorch_model.bin").exists()
    del hub.files["pytorch_model.bin"]
    with pytest.raises(DownloadError, match=r"no weights as .safetensors or .bin"):
        download_model("Owner/Model", tmp_path / "other")


def test_the_same_weights_are_not_taken_twice() -> None:
    both = ["model-1.safetensors", "consolidated.safetensors", "training_args.bin", "a.gguf"]
    assert choose_files(both, with_code=False) == (["model-1.safetensors"], "safetensors")
    assert choose_files(["consolidated.safetensors"], with_code=False)[1] == "safetensors"


def test_a_folder_is_never_changed_to_another_model_or_commit(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    download_model("Owner/Model", folder)
    with pytest.raises(OutputExistsError, match="holds Owner/Model at commit aaaa"):
        download_model("Owner/Other", folder)
    hub.commit = LATER
    with pytest.raises(OutputExistsError, match=f"needed: a new folder .* {LATER}"):
        download_model("Owner/Model", folder)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is no download of unspoken"):
        download_model("Owner/Model", tmp_path / "own")


def test_nothing_is_fetched_without_room_for_all(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"found 0.00 GB free; needed: 0.00 GB more"):
        download_model("Owner/Model", tmp_path / "student")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [
        ("Owner/Gated", None, "hf auth login, or set HF_TOKEN"),
        ("Owner/Nothing", None, "check the spelling"),
        ("Owner/Model", "v9", "no revision 'v9'"),
        ("not a name", None, "OWNER/NAME, such as"),
    ],
)
def test_errors_say_what_to_do(
    hub: Hub, tmp_path: Path, repo: str, revision: str | None, message: str
) -> None:
    with pytest.raises(DownloadError, match=message) as caught:
        download_model(repo, tmp_path / "x", revision=revision)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_network_and_offline_mode_say_what_to_do(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    stop(hub, monkeypatch)
    with pytest.raises(HubUnreachableError, match="HTTPS_PROXY"):
        download_model("Owner/Model", tmp_path / "x")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachableError, match="env -u HF_HUB_OFFLINE"):
        download_model("Owner/Model", tmp_path / "x")


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download(student="Owner/Model", out_dir=tmp_path)
    hub.wrong = True
    with pytest.raises(DownloadError) as caught:
        download(teacher="Owner/Model", out_dir=tmp_path)
    assert hub.logins == {"Bearer hf_secret"}
    seen = "".join(capfd.readouterr()) + str(caught.value)
    seen += (tmp_path / "student" / "download.json").read_text()
    assert "hf_secret" not in seen


def test_the_verb_fetches_both_and_hints_at_missing_code(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.files["config.json"] = b'{"model_type": "qwen", "auto_map": {"AutoConfig": "x.Y"}}'
    download(teacher="Owner/Model", student="Owner/Model", out_dir=tmp_path)
    printed = capsys.readouterr().out
    assert names(tmp_path / "teacher") == names(tmp_path / "student")
    assert f"pinned at commit {COMMIT}" in printed
    assert "Qwen/Qwen2.5-14B-Instruct" in printed
    assert "--with_code" in printed
    download(student="Owner/Model", student_revision=COMMIT, out_dir=tmp_path)
    assert "the hub was not asked" in capsys.readouterr().out
    with pytest.raises(RecipeError, match="found neither"):
        download(out_dir=tmp_path)
    with pytest.raises(DownloadError):
        download(teacher="Qwen/Qwen-14B-Chat", out_dir=tmp_path / "first")
    assert "Qwen/Qwen2.5-14B-Instruct" in capsys.readouterr().out
    with pytest.raises(RecipeError, match="found it without --teacher"):
        download(student="Owner/Model", teacher_revision="main", out_dir=tmp_path)


def test_two_at_once_do_not_write_into_one_file(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    with locked(folder), pytest.raises(DataError, match="is writing to it"):
        download_model("Owner/Model", folder)
    assert hub.requests == []
    plan = download_module.plan_download("Owner/Model", folder)
    download_model("Owner/Model", folder)  # by another process, after this one made its plan
    hub.requests.clear()
    assert download_module.finish_download(plan).missing == ()
    assert hub.requests == []
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_to_where_there_is_room_is_followed(
    hub: Hub, tmp_path: Path, is_there: bool
) -> None:
    scratch, models = tmp_path / "scratch", tmp_path / "models"
    models.mkdir()
    if is_there:
        (scratch / "student").mkdir(parents=True)
    (models / "student").symlink_to(scratch / "student")
    download_model("Owner/Model", models / "student")
    assert (models / "student").is_symlink()
    assert names(models / "student") == WANTED | {"download.json"}
    assert list(scratch.iterdir()) == [scratch / "student"]
    hub.requests.clear()
    assert download_model("Owner/Model", models / "student").missing == ()
    assert hub.requests == []


def test_a_copied_folder_is_compared_with_its_record(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "student"
    download_model("Owner/Model", folder)
    hub.requests.clear()
    download(verify=folder)
    assert f"Owner/Model at commit {COMMIT}, 4 files, every SHA-256" in capsys.readouterr().out
    (folder / "model.safetensors").write_bytes(bytes(len(WEIGHTS)))  # of the right size
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DownloadError) as caught:
        download(verify=folder)
    assert "tokenizer.json (not there, or not whole), model.safetensors (other content)" in str(
        caught.value
    )
    with pytest.raises(DownloadError, match=r"found no download.json"):
        download(verify=tmp_path)
    with pytest.raises(RecipeError, match="give it alone"):
        download(verify=folder, student="Owner/Model")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"files": 3}, "files: "),
        ({"files": [{"path": "a"}]}, r"files\.0\.size: "),
        ({"with_code": "perhaps"}, "with_code: "),
        ({"weights": "h5"}, "weights: "),
        ({"version": 99}, "version: found 99"),
    ],
)
def test_a_damaged_record_of_a_download_is_named(
    hub: Hub, tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    folder = tmp_path / "student"
    download_model("Owner/Model", folder)
    record = json.loads((folder / "download.json").read_text())
    assert record.pop("version") == 1
    (folder / "download.json").write_text(json.dumps(record))  # from before it had a version
    download(verify=folder)
    (folder / "download.json").write_text(json.dumps({**record, **change}))
    for call in (lambda: download(verify=folder), lambda: download_model("Owner/Model", folder)):
        with pytest.raises(DownloadError, match=rf"download.json: {where}.*download again"):
            call()


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_of_another_user_is_one_line(hub: Hub, tmp_path: Path, mode: int) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(mode)
    try:
        with like_another_user(), pytest.raises(UnspokenError) as caught:
            download_model("Owner/Model", closed / "student")
    finally:
        closed.chmod(0o755)
    assert str(closed) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(closed.iterdir()) == []
    download_model("Owner/Model", closed / "student")


@pytest.mark.integration
@pytest.mark.root
def test_a_full_disk_is_told_and_the_download_goes_on(
    tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        target = disk.path / "model"
        words = ["download", "--student", "Owner/Model", "--out_dir", str(target)]
        for room in (0, 8_192, 200_000):
            disk.leave(room)
            with pytest.raises(SystemExit) as caught:
                main(words)
            (line,) = [one for one in capsys.readouterr().err.splitlines() if "error:" in one]
            assert caught.value.code == 2
            assert "needed: " in line
        disk.make_room()
        main(words)
        (folder,) = [path.parent for path in disk.path.rglob("model.safetensors")]
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS
