"""Joining a broker that asks for keys."""

import logging
from pathlib import Path

import pytest

from agent.errors import BrokerRefusedError, SettingError
from agent.join_token import JoinToken
from agent.settings import load
from unit.agent.conftest import StartAgent
from unit.agent.fake_broker import FakeBroker

TOKEN = "sbk_0123456789ab_" + "x" * 49


def test_the_token_is_shown_to_join_and_the_session_from_then_on(broker: FakeBroker, start_agent: StartAgent) -> None:
    broker.token = TOKEN
    broker.submit("a", "echo hello")
    start_agent(token=TOKEN)
    assert broker.wait_status("a", "completed")["result"]["output"] == "hello\n"
    broker.wait_for(lambda: broker.beats and broker.links)


def test_a_wrong_token_is_named_and_tried_less_and_less(
    broker: FakeBroker, start_agent: StartAgent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.token = TOKEN
    file = tmp_path / "token"
    file.write_text("wrong-one\n")
    with caplog.at_level(logging.INFO, "agent"):
        start_agent(token_file=file)
        broker.wait_for(lambda: broker.calls["/register"] >= 2)
        file.write_text(TOKEN + "\n")  # mended while it runs
        broker.wait_for(lambda: broker.registrations)
    said = [str(getattr(record, "fields", "")) for record in caplog.records]
    refusals = [text for record, text in zip(caplog.records, said, strict=True) if record.msg == "registration_refused"]
    assert "knows no such key" in refusals[0]
    assert "broker-keys create --role node" in refusals[0]
    assert not any(secret in text for text in said for secret in ("wrong-one", TOKEN))


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"x" * 600])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(BrokerRefusedError) as refused:
        JoinToken(None, file).headers()
    assert "NODE_TOKEN_FILE" in refused.value.message


def test_no_file_is_refused_and_no_token_is_none(tmp_path: Path) -> None:
    with pytest.raises(BrokerRefusedError):
        JoinToken(None, tmp_path / "none").headers()
    assert JoinToken(None, None).headers() == {}


def test_settings_keep_the_token_to_themselves() -> None:
    settings = load([], {"NODE_TOKEN": TOKEN})
    assert settings.token == TOKEN
    assert TOKEN not in repr(settings)
    with pytest.raises(SettingError) as wrong:
        load([], {"NODE_TOKEN": "not a token"})
    assert "not a token" not in str(wrong.value)
