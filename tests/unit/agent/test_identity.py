"""Who the node is, across restarts, and what is kept from whom."""

import json
import os
from pathlib import Path

import pytest

from agent.identity import Identity, IdentityFile, StateFolder, write_durably

ME = Identity("http://b", "node-1", "secret")


def test_identity_survives_for_this_user_only(tmp_path: Path) -> None:
    IdentityFile(tmp_path).save(ME)
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600
    assert IdentityFile(tmp_path).load("http://b") == ME


def test_secret_is_not_shown_to_another_broker(tmp_path: Path) -> None:
    IdentityFile(tmp_path).save(ME)
    assert IdentityFile(tmp_path).load("http://other") is None


def _saying(node_id: object) -> str:
    return json.dumps({"broker_url": "http://b", "node_id": node_id, "secret": "s"})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"broker_url":1}', "[" * 60_000, *map(_saying, (5, None, "", "n" * 201, "\ud800", "n\nn"))],
)
def test_damaged_file_means_a_new_node(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    assert IdentityFile(tmp_path).load("http://b") is None


def test_forgotten_identity_is_gone(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    file.save(ME)
    file.forget()
    assert IdentityFile(tmp_path).load("http://b") is None


def test_without_a_folder_memory_must_do() -> None:
    file = IdentityFile(None)
    file.save(ME)
    assert file.load("http://b") == ME


def test_state_folder_is_one_agents(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path / "s"), StateFolder(tmp_path / "s")
    assert (first.path, second.path) == (tmp_path / "s", None)
    first.close()
    assert StateFolder(tmp_path / "s").path is not None


def test_folder_that_cannot_be_made_means_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert StateFolder(tmp_path / "file" / "s").path is None


def test_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "x.new").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        write_durably(tmp_path / "x", b"data")
    assert (tmp_path / "target").read_text() == "precious"


def test_pipe_in_the_place_of_the_identity_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "identity.json")
    assert IdentityFile(tmp_path).load("http://b") is None
