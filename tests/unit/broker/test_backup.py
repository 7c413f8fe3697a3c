"""Backups that are wrong, cut short or hostile are refused as a whole, and a backup never changes what it copies."""

import fcntl
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.backup import archive, command, make
from broker.backup.make import make_backup
from broker.backup.restore import restore_backup
from broker.errors import StartError
from broker.store.connection import FileLock, connect_writer
from broker.store.load import stamp_of
from broker.store.migrate import migrate

CONTENTS = [b"one", b"two" * 1000, b""]
NAMES = [hashlib.sha256(content).hexdigest() for content in CONTENTS]


class Site:
    """A broker's data."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "broker.db"
        self.blobs = folder / "blobs"
        folder.mkdir()
        migrate(self.database)
        for name, content in zip(NAMES, CONTENTS, strict=True):
            self.put(name, content)
        with connect_writer(self.database, durable=False) as connection:
            for number, name in enumerate(NAMES):
                row = (number, "input", "0", name, len(CONTENTS[number]))
                connection.execute("INSERT INTO job_files (seq, kind, path, sha256, size) VALUES (?, ?, ?, ?, ?)", row)
        connection.close()

    def put(self, name: str, content: bytes) -> None:
        shelf = self.blobs / name[:2]
        shelf.mkdir(parents=True, exist_ok=True)
        (shelf / name).write_bytes(content)

    def backup(self) -> bytes:
        out = io.BytesIO()
        make_backup(self.database, self.blobs, out)
        return out.getvalue()

    def files(self) -> set[str]:
        root = self.database.parent
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


Restore = Callable[[bytes], Path]


@pytest.fixture
def restore(tmp_path: Path) -> Restore:
    def run(tar: bytes) -> Path:
        folder = tmp_path / "back"
        restore_backup(io.BytesIO(tar), folder / "broker.db", folder / "blobs", 3600)
        return folder

    return run


def test_everything_comes_back_and_nothing_is_left_over(site: Site, restore: Restore) -> None:
    site.database.with_name("webhook.secret").write_text("whsec_x\n")
    site.put("f" * 64, b"no row refers to this")
    before = site.files()
    folder = restore(site.backup())
    assert site.files() - before == {"backup.lock", stamp_of(site.database).name}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"broker.db", "broker.db.lock", "webhook.secret"} | {f"blobs/{n[:2]}/{n}" for n in NAMES}
    for name, content in zip(NAMES, CONTENTS, strict=True):
        assert (folder / "blobs" / name[:2] / name).read_bytes() == content
    assert (folder / "webhook.secret").read_text() == "whsec_x\n"
    assert oct((folder / "broker.db").stat().st_mode & 0o777) == "0o600"


def test_what_the_disk_lost_is_named_and_the_rest_comes_back(site: Site, restore: Restore) -> None:
    (site.blobs / NAMES[0][:2] / NAMES[0]).write_bytes(b"on")
    (site.blobs / NAMES[1][:2] / NAMES[1]).unlink()
    out = io.BytesIO()
    _, end = make_backup(site.database, site.blobs, out)
    assert end.damaged == sorted(NAMES[:2])
    folder = restore(out.getvalue())
    assert [path.name for path in (folder / "blobs").rglob("*") if path.is_file()] == [NAMES[2]]


def test_a_content_that_is_deleted_meanwhile_is_in_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker lets go of a content after the copy was made of the database that still refers to it."""
    copy = make._copy

    def copy_then_delete(database: Path, target: Path) -> None:
        copy(database, target)
        (site.blobs / NAMES[1][:2] / NAMES[1]).unlink(missing_ok=True)

    monkeypatch.setattr(make, "_copy", copy_then_delete)
    _, end = make_backup(site.database, site.blobs, io.BytesIO())
    assert (end.blobs, end.damaged) == (3, [])


def test_what_a_killed_backup_left_is_removed_by_the_next(site: Site) -> None:
    for folder in (site.database.parent / make.WORK, site.blobs / make.WORK):
        folder.mkdir()
        (folder / "left").write_text("x")
    site.backup()
    assert not any(make.WORK in name for name in site.files())


def test_one_backup_at_a_time(site: Site) -> None:
    with (site.database.parent / "backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StartError, match="another backup"):
            site.backup()
    assert not stamp_of(site.database).exists()


def test_no_database_no_backup(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="is not there"):
        make_backup(tmp_path / "broker.db", tmp_path / "blobs", io.BytesIO())
    assert list(tmp_path.iterdir()) == []


def test_no_room_no_backup(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Disk(10))
    with pytest.raises(StartError, match="has 10 left"):
        site.backup()


class _Disk:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_damaged_database_is_not_backed_up(site: Site) -> None:
    with site.database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    with pytest.raises(StartError, match=r"damaged|cannot be copied"):
        site.backup()


def changed(tar: bytes, change: Callable[[str, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> bytes:
    """The tar with each member as `change` wants it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            for info, data in change(member.name, content.read()):
                info.size = len(data) if info.isreg() else 0
                new.addfile(info, io.BytesIO(data))
    return out.getvalue()


def replaced(name: str, content: bytes) -> Callable[[str, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    return lambda found, data: [(tarfile.TarInfo(found), content if found == name else data)]


def before_the_end(member: tarfile.TarInfo) -> Callable[[str, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    def change(name: str, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        more = [(member, b"x")] if name == archive.END else []
        return [*more, (tarfile.TarInfo(name), data)]

    return change


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


BLOB = archive.blob_name(NAMES[1])
HOSTILE = {
    "../../etc/cron.d/x": before_the_end(tarfile.TarInfo("../../etc/cron.d/x")),
    "an absolute name": before_the_end(tarfile.TarInfo("/tmp/x")),
    "a strange shelf": before_the_end(tarfile.TarInfo(f"blobs/zz/{NAMES[1]}")),
    "a symbolic link": before_the_end(link(f"blobs/ab/ab{'0' * 62}", tarfile.SYMTYPE)),
    "a hard link": before_the_end(link("webhook.secret", tarfile.LNKTYPE)),
    "a device": before_the_end(link(f"blobs/ab/ab{'0' * 62}", tarfile.CHRTYPE)),
    "a second manifest": before_the_end(tarfile.TarInfo(archive.MANIFEST)),
    "a content that is not its name's": replaced(BLOB, b"other"),
    "another database": replaced(archive.DATABASE, b"SQLite format 3\x00"),
    "no content": lambda name, data: [] if name == BLOB else [(tarfile.TarInfo(name), data)],
    "no end": lambda name, data: [] if name == archive.END else [(tarfile.TarInfo(name), data)],
    "no manifest": lambda name, data: [] if name == archive.MANIFEST else [(tarfile.TarInfo(name), data)],
    "no JSON": replaced(archive.MANIFEST, b"{"),
    "a list": replaced(archive.MANIFEST, b"[]"),
    "unknown fields": replaced(archive.END, b'{"more": 1}'),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_is_no_backup_changes_nothing(site: Site, restore: Restore, tmp_path: Path, how: str) -> None:
    with pytest.raises(StartError):
        restore(changed(site.backup(), HOSTILE[how]))
    assert {path.name for path in (tmp_path / "back").rglob("*")} == {"broker.db.lock"}


def test_one_cut_short_changes_nothing(site: Site, restore: Restore, tmp_path: Path) -> None:
    tar = site.backup()
    for length in (0, 100, 700, len(tar) // 2, len(tar) - 10_240 - 1024):
        with pytest.raises(StartError):
            restore(tar[:length])
        assert {path.name for path in (tmp_path / "back").rglob("*")} == {"broker.db.lock"}


def test_a_later_form_says_which_broker_is_wanted(site: Site, restore: Restore) -> None:
    later = replaced(archive.MANIFEST, b'{"form": 2, "version": "9.1"}')
    with pytest.raises(StartError, match=r"made by broker 9\.1"):
        restore(changed(site.backup(), later))


def test_a_later_schema_is_refused(site: Site, restore: Restore) -> None:
    with connect_writer(site.database, durable=False) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StartError, match="newer broker"):
        restore(site.backup())


def test_data_that_is_there_is_not_overwritten(site: Site) -> None:
    tar = site.backup()
    with pytest.raises(StartError, match="is there already"):
        restore_backup(io.BytesIO(tar), site.database, site.blobs, 3600)


def test_a_running_broker_keeps_the_restore_out(site: Site, tmp_path: Path, restore: Restore) -> None:
    (tmp_path / "back").mkdir()
    lock = FileLock(tmp_path / "back" / "broker.db")
    lock.acquire()
    with pytest.raises(StartError, match="is locked"):
        restore(site.backup())
    lock.release()


def test_the_commands_say_how_they_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert (command.backup(["x"]), command.restore(["x"])) == (2, 2)
    assert capsys.readouterr().err.count("usage:") == 2
