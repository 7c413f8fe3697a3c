"""Settings, identity, hashes and languages: what a node is told and says about itself."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandrun import languages
from sandrun.cli import main
from sandrun.identity import Identity, KeyFileError, generate_key, signed_text
from sandrun.jobs.hashing import job_hash
from sandrun.sandbox.rootfs import ReadOnlyMount
from sandrun.settings import Settings, SettingsError


class TestSettings:
    def test_flags_beat_the_environment_which_beats_the_defaults(self) -> None:
        environ = {
            "SANDRUN_PORT": "1000",
            "SANDRUN_SLOTS": "3",
            "SANDRUN_RATE_LOOPBACK": "yes",
            "SANDRUN_MAX_TIMEOUT": "600.5",
        }
        settings = Settings.load(environ, {"port": 2000, "slots": None})
        assert (settings.port, settings.slots, settings.rate_loopback, settings.max_timeout) == (2000, 3, True, 600.5)
        assert settings.host == "127.0.0.1"

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("SANDRUN_PORT", "https"),
            ("SANDRUN_PORT", "70000"),
            ("SANDRUN_SLOTS", "0"),
            ("SANDRUN_MIN_TIER", "none"),
            ("SANDRUN_TTL", "-1"),
            ("SANDRUN_RATE_LOOPBACK", "maybe"),
            ("SANDRUN_DEFAULT_TIMEOUT", "7200"),
            ("SANDRUN_MAX_PROCESSES", "0"),
        ],
    )
    def test_a_wrong_value_names_its_variable(self, variable: str, value: str) -> None:
        with pytest.raises(SettingsError, match=variable):
            Settings.load({variable: value}, {})

    @pytest.mark.parametrize(
        ("cpus", "memory_mb", "slots"), [(8, 0, 8), (8, 1100, 2), (2, 100_000, 2), (4, 300, 1), (1, 512, 1)]
    )
    def test_slots_follow_cpus_and_memory(
        self, monkeypatch: pytest.MonkeyPatch, cpus: int, memory_mb: int, slots: int
    ) -> None:
        monkeypatch.setattr("sandrun.settings._cpus", lambda: cpus)
        monkeypatch.setattr("sandrun.settings._job_memory_mb", lambda: memory_mb)
        assert Settings.load({}, {}).slots == slots
        assert Settings.load({"SANDRUN_SLOTS": "7"}, {}).slots == 7

    def test_lowering_a_maximum_lowers_the_default_with_it(self) -> None:
        settings = Settings.load({"SANDRUN_MAX_TIMEOUT": "60", "SANDRUN_MAX_DISK_MB": "8"}, {})
        ranges = settings.ranges()
        assert (ranges["timeout"].default, ranges["disk_mb"].default, ranges["file_size_mb"].maximum) == (60, 8, 8)

    def test_every_setting_is_in_the_reference(self) -> None:
        reference = Path(__file__).parents[3].joinpath("docs", "sandrun.md").read_text(encoding="utf-8")
        missing = [spec.name for spec in fields(Settings) if f"`SANDRUN_{spec.name.upper()}`" not in reference]
        assert not missing


class TestIdentity:
    def test_a_new_key_signs_and_is_its_owners_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        made = generate_key(path)
        assert path.stat().st_mode & 0o777 == 0o600
        identity = Identity.load(path)
        assert identity.worker_id == made.worker_id
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(identity.worker_id))
        public.verify(base64.b64decode(identity.sign("héllo")), "héllo".encode())

    def test_a_key_is_never_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        generate_key(path)
        with pytest.raises(KeyFileError, match="exists already"):
            generate_key(path)

    def test_a_key_behind_a_link_is_not_written(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(KeyFileError):
            generate_key(tmp_path / "link")
        assert not (tmp_path / "elsewhere").exists()

    def test_what_is_no_key_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(KeyFileError, match="--generate-key"):
            Identity.load(tmp_path / "missing")
        (tmp_path / "rubbish").write_text("rubbish")
        with pytest.raises(KeyFileError, match="not an unencrypted PEM"):
            Identity.load(tmp_path / "rubbish")
        rsa = generate_private_key(public_exponent=65537, key_size=2048)
        (tmp_path / "rsa").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with pytest.raises(KeyFileError, match="Ed25519"):
            Identity.load(tmp_path / "rsa")

    def test_what_is_signed(self) -> None:
        assert signed_text("ab", 0, 0.5, 12, {"b": "2", "a": "1"}) == "ab|0|0.500000|12|a:1|b:2"
        assert signed_text("ab", None, 0, 0, {}) == "ab|-1|0.000000|0"

    def test_the_commands(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "key.pem"
        assert main(["--generate-key", str(path)]) == 0
        assert capsys.readouterr().out.strip() == Identity.load(path).worker_id
        assert main(["--generate-key", str(path)]) == 1
        assert "exists already" in capsys.readouterr().err
        assert main(["--worker-key", str(tmp_path / "missing")]) == 1
        assert "--generate-key" in capsys.readouterr().err


def test_the_job_hash() -> None:
    expected = hashlib.sha256(b"main.py|python3||a|b|print(1)").hexdigest()
    assert job_hash("main.py", "python3", "", ["a", "b"], b"print(1)") == expected


class TestLanguages:
    def test_what_is_found_answers_with_a_version(self) -> None:
        found = languages.detect()
        assert "python3" in found
        assert found["python3"].version.startswith("3.")
        assert found["sh"].version

    def test_an_interpreter_outside_usr_is_shown_on_the_path(self) -> None:
        node = languages.LANGUAGES[1]
        outside = languages.Interpreter(
            node, languages.NODE_TARGET, "24", (ReadOnlyMount("/opt/x/node", languages.NODE_TARGET),)
        )
        assert languages.search_path([outside]).split(":")[-1] == "/opt/node/bin"

    def test_what_does_not_run_is_not_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        broken = tmp_path / "ruby"
        broken.write_text("#!/nonexistent\n")
        broken.chmod(0o755)
        monkeypatch.setattr(
            languages, "LANGUAGES", (languages.Language("ruby", (".rb",), (str(broken), str(tmp_path / "none"))),)
        )
        assert languages.detect() == {}
