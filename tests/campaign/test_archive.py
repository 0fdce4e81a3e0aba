"""A campaign as one archive, there and back; archives of attackers; and what is needed of a store."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import stat
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.campaign.archive import HEADER, MANIFEST, PROVENANCE, export_campaign
from superionic.campaign.cleaning import clean
from superionic.campaign.file.inputs import gather_inputs
from superionic.campaign.provenance import Publication
from superionic.campaign.unpacking import import_archive
from superionic.errors import CampaignFileError, StorageError
from superionic.execution import inventory
from superionic.execution.inventory import Amount, verify_store
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.owner import Owner
from superionic.execution.store import Kind, Store, verify

Files = dict[str, bytes]


@pytest.fixture(scope="session")
def exported(finished_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished campaign as an archive; not to be changed."""
    out = tmp_path_factory.mktemp("exported") / "small.zip"
    about = Publication("Li3YCl6, small", ("A. Author", "B. Author"), "CC-BY-4.0")
    export_campaign(Campaign.load(finished_folder / "campaign.yaml"), out, publication=about)
    return out


def products(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def contents(archive: Path) -> Files:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


# ---- there and back -------------------------------------------------------------------------------------------------


def test_an_imported_campaign_is_done_and_gives_the_same_report(exported, finished_folder, tmp_path):
    made = import_archive(exported, tmp_path / "elsewhere")
    assert made.campaign == tmp_path / "elsewhere" / "campaign.yaml"
    campaign, before = Campaign.load(made.campaign), finished_folder / "runs" / "small"
    assert campaign.status().is_done
    assert made.n_results == len(list(Store(before / "store").results()))
    about = Publication("Li3YCl6, small", ("A. Author", "B. Author"), "CC-BY-4.0")
    again = export_campaign(campaign, tmp_path / "again.zip", publication=about)
    assert again.path.read_bytes() == exported.read_bytes()
    with Ledger(before / LEDGER) as ledger:
        completions = ledger.completions()
    campaign.run()
    assert products(campaign.report_folder) == products(before / "report")
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        assert ledger.completions() == completions


def test_an_archive_says_what_is_in_it_and_how_it_came_about(exported, finished_folder, tmp_path):
    files = contents(exported)
    lines = dict(reversed(line.split("  ", 1)) for line in files[MANIFEST].decode().splitlines())
    assert lines == {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if n != MANIFEST}
    for name in ("campaign.yaml", "licl.cif"):
        assert files[name] == (finished_folder / name).read_bytes()
    made_by = json.loads(files[PROVENANCE])
    keys = {task["key"] for task in made_by["tasks"]}
    assert keys == {key for key, _ in Store(finished_folder / "runs" / "small" / "store").results()}
    assert all(set(task["reads"]) <= keys for task in made_by["tasks"])
    assert made_by["potentials"]["pair"]["licence"] == "MIT"
    assert socket.gethostname().encode() not in files[f"runs/small/{LEDGER}"]

    from rocrate.rocrate import ROCrate

    shutil.unpack_archive(exported, tmp_path)
    crate = ROCrate(tmp_path)
    assert crate.name == "Li3YCl6, small"
    assert [author["name"] for author in crate.root_dataset["author"]] == ["A. Author", "B. Author"]
    assert crate.license.id == "https://spdx.org/licenses/CC-BY-4.0"
    for entity in crate.data_entities:
        assert (tmp_path / entity.id).exists()
        if entity.type == "File":
            assert entity["sha256"] == lines[entity.id]
            assert entity["contentSize"] == str(len(files[entity.id]))
    (action,) = [entity for entity in crate.contextual_entities if entity.type == "CreateAction"]
    assert [entity.id for entity in action["object"]] == sorted(
        ["campaign.yaml", *(n for n in files if ".cif" in n and "/" not in n)]
    )
    assert action["endTime"] == crate.root_dataset["datePublished"]


def test_an_unfinished_campaign_is_archived_only_if_asked_for(finished, tmp_path):
    campaign = Campaign.load(finished(("production_ps: 0.2", "production_ps: 0.24")))
    with pytest.raises(StorageError, match="not finished: 4 tasks") as caught:
        export_campaign(campaign, tmp_path / "a.zip")
    assert "--unfinished" in caught.value.fix
    made = export_campaign(campaign, tmp_path / "a.zip", unfinished=True)
    assert made.to_do == 4
    imported = Campaign.load(import_archive(made.path, tmp_path / "in").campaign)
    assert len(imported.status().pending) == 4
    with pytest.raises(StorageError, match="exists already"):
        export_campaign(campaign, tmp_path / "a.zip")


def test_a_damaged_result_is_not_archived(finished, tmp_path):
    campaign = Campaign.load(finished())
    flip(Store(campaign.run_folder / "store"))
    with pytest.raises(StorageError, match="a result is damaged"):
        export_campaign(campaign, tmp_path / "a.zip")
    assert not list(tmp_path.glob("*.zip*"))
    assert not list(tmp_path.glob(".a.zip*"))


def test_files_that_lie_elsewhere_come_along_and_the_campaign_file_says_where_they_are(tmp_path):
    folder = tmp_path / "mine"
    (folder / "cif").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    for name in ("mine/cif/a.cif", "b.cif", "mine/own.extxyz", "labels/x.extxyz", "mine/readme.txt"):
        (tmp_path / name).write_text(name)
    text = f"""\
superionic: 1  # kept
crystals:
  - {{name: a, file: cif/a.cif}}
  - name: b
    file: '{tmp_path / "b.cif"}'   # kept as well
references: [{{name: c, file: ../b.cif}}]
label:
  finished: {{files: [own.extxyz, ../labels]}}
train: {{replay: foundation}}
"""
    path = folder / "campaign.yaml"
    path.write_text(text)
    gathered = gather_inputs(path, reserved=frozenset({"runs"}))
    assert gathered.files == {
        "cif/a.cif": folder / "cif" / "a.cif",
        "inputs/1/b.cif": tmp_path / "b.cif",
        "inputs/2/b.cif": folder / ".." / "b.cif",
        # The folder of finished labels is on record with them.
        "inputs/3/mine/own.extxyz": folder / "own.extxyz",
        "inputs/4/labels/x.extxyz": folder / ".." / "labels" / "x.extxyz",
    }
    assert gathered.text == text.replace(f"'{tmp_path / 'b.cif'}'", '"inputs/1/b.cif"').replace(
        "file: ../b.cif", 'file: "inputs/2/b.cif"'
    ).replace("[own.extxyz, ../labels]", '["inputs/3/mine/own.extxyz", "inputs/4/labels"]')
    path.write_text(text.replace("file: ../b.cif", 'file: "..\\x2fb.cif"'))
    with pytest.raises(CampaignFileError, match="cannot be replaced"):
        gather_inputs(path, reserved=frozenset())


def test_finished_labels_come_along_and_no_result_says_where_they_lay(finished, tmp_path):
    path = finished()
    Campaign.load(path).export_labels(path.with_name("own.extxyz"))
    label = 'label: {engine: "potential:pair"'
    path = finished(
        (label, label + ", finished: {files: [own.extxyz]}"), ("analyse: {density_grid_A: 1.0}", "analyse: null")
    )
    Campaign.load(path).run(write_report=False)
    first = export_campaign(Campaign.load(path), tmp_path / "a.zip").path
    imported = Campaign.load(import_archive(first, tmp_path / "in").campaign)
    assert imported.status().is_done
    second = export_campaign(imported, tmp_path / "b.zip").path
    assert contents(second) == contents(first)
    assert not [name for name, data in contents(first).items() if str(tmp_path).encode() in data]


# ---- archives of attackers ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def honest(exported: Path) -> Files:
    """The least that can be imported: a campaign file and one result."""
    files = contents(exported)
    result = next(name for name in files if "/store/objects/" in name)
    return {name: files[name] for name in ("campaign.yaml", result)}


def pack(
    files: Files, path: Path, change: Callable[[zipfile.ZipInfo], None] = lambda _: None, **further: bytes
) -> Path:
    """Write files with the header and the manifest that fit, and then some that are in neither."""
    size = sum(map(len, files.values()))
    header = {"format": 1, "superionic": "0", "campaign": "campaign.yaml", "run_folder": "runs/small"}
    files = {**files, HEADER: json.dumps({**header, "files": len(files), "bytes": size}).encode()}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in {**files, MANIFEST: "".join(lines).encode(), **further}.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            file.writestr(info, data)
    return path


def patched(path: Path, old: bytes, new: bytes, times: int = -1) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, times))
    return path


def _named(name: str) -> Callable[[Files, Path], Path]:
    return lambda files, path: pack({**files, name: b"x"}, path)


def _with_mode(mode: int) -> Callable[[Files, Path], Path]:
    def change(info: zipfile.ZipInfo) -> None:
        if info.filename == "evil":
            info.create_system, info.external_attr = 3, mode << 16

    return lambda files, path: pack({**files, "evil": b"/etc/passwd"}, path, change)


def _twice(files: Files, path: Path) -> Path:
    pack({**files, "twice": b"a", "twicf": b"b"}, path)
    return patched(path, b"twicf", b"twice")


def _encrypted(files: Files, path: Path) -> Path:
    pack(files, path)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(bytes(data))
    return path


def _wrong_checksum(files: Files, path: Path) -> Path:
    pack(files, path)
    written = contents(path)
    written["campaign.yaml"] = written["campaign.yaml"].replace(b"seed: 7", b"seed: 8")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in written.items():
            file.writestr(name, data)
    return path


def _bomb(files: Files, path: Path) -> Path:
    return pack({**files, "bomb": bytes(64 << 20)}, path)


def _bomb_that_lies(files: Files, path: Path) -> Path:
    """Say that 64 MiB of zeros are 20 bytes, in both places where a ZIP file says so."""
    bomb = bytes(64 << 20)
    pack({**files, "bomb": b"x" * 20}, path)
    written = contents(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in written.items():
            file.writestr(name, bomb if name == "bomb" else data)
    packed_size = (len(bomb)).to_bytes(4, "little")
    return patched(path, packed_size, (20).to_bytes(4, "little"))


def _repacked(compression: int, members: Callable[[Files], Files]) -> Callable[[Files, Path], Path]:
    """Pack a result in another way, with the comment that fits."""

    def make(files: Files, path: Path) -> Path:
        (name,) = [name for name in files if "/store/" in name]
        part = path.with_name("part.zip")
        part.write_bytes(files[name])
        inside = members(contents(part))
        with zipfile.ZipFile(part, "w", compression) as file:
            for member, data in inside.items():
                file.writestr(member, data)
            file.comment = b"0" * 64
        data = part.read_bytes()[:-64]
        part.unlink()
        return pack({**files, name: data + hashlib.sha256(data).hexdigest().encode()}, path)

    return make


def _under_another_key(files: Files, path: Path) -> Path:
    (name,) = [name for name in files if "/store/" in name]
    data = files.pop(name)
    return pack({**files, f"runs/small/store/objects/ab/ab{'0' * 62}.zip": data}, path)


def _truncated(files: Files, path: Path) -> Path:
    pack(files, path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _flipped(files: Files, path: Path) -> Path:
    pack(files, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    return path


def _no_zip(_: Files, path: Path) -> Path:
    path.write_bytes(b"superionic" * 100)
    return path


def _without_manifest(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


ATTACKS: dict[str, tuple[Callable[[Files, Path], Path], str]] = {
    "traversal": (_named("../evil"), "not the name of a file below"),
    "traversal within": (_named("a/../../evil"), "not the name of a file below"),
    "absolute": (_named("/evil"), "not the name of a file below"),
    "backslash": (_named("..\\evil"), "not the name of a file below"),
    "empty part": (_named("a//evil"), "not the name of a file below"),
    "control signs": (_named("a\nb"), "not the name of a file below"),
    "long name": (_named("a" * 300), "not the name of a file below"),
    "link": (_with_mode(stat.S_IFLNK | 0o777), "a link, a folder or a device"),
    "device": (_with_mode(stat.S_IFCHR | 0o777), "a link, a folder or a device"),
    "folder": (_named("evil/"), "not the name of a file below"),
    "two of a name": (_twice, "two files of the name"),
    "file and folder": (lambda files, path: pack({**files, "a": b"x", "a/b": b"x"}, path), "both a file and a folder"),
    "encrypted": (_encrypted, "is encrypted"),
    "not in the manifest": (lambda files, path: pack(files, path, extra=b"x"), "not in both"),
    "foreign file in the store": (_named("runs/small/store/verified.txt"), "neither a result nor a report"),
    "another run folder": (_named("runs/other/store/verified.txt"), "neither a result nor a report"),
    "wrong checksum": (_wrong_checksum, "another checksum"),
    "result of another key": (_under_another_key, "another task"),
    "bomb": (_bomb, "more than 100 times"),
    "bomb that lies": (_bomb_that_lies, "damaged"),
    "bomb in a result": (_repacked(zipfile.ZIP_DEFLATED, lambda inside: inside), "not packed as results are"),
    "foreign member of a result": (
        _repacked(zipfile.ZIP_STORED, lambda inside: {**inside, "evil": b"x"}),
        "not packed as results are",
    ),
    "truncated": (_truncated, "damaged"),
    "flipped bit": (_flipped, "damaged|checksum"),
    "no archive": (_no_zip, "no archive at all"),
    "no manifest": (_without_manifest, "superionic has not written it"),
}


def test_an_honest_archive_of_the_least_is_taken(honest, tmp_path):
    made = import_archive(pack(honest, tmp_path / "a.zip"), tmp_path / "in")
    assert (made.n_files, made.n_results) == (4, 1)
    assert {*products(tmp_path / "in")} == {*honest, HEADER, MANIFEST}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_of_an_attacker_is_refused_and_leaves_nothing(attack, honest, tmp_path):
    make, words = ATTACKS[attack]
    place = tmp_path / "place"
    place.mkdir()
    archive = make(dict(honest), tmp_path / "a.zip")
    with pytest.raises(StorageError, match=words) as caught:
        import_archive(archive, place / "in")
    assert "refused" in caught.value.message
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["a.zip", "place"]


def test_an_import_never_touches_a_folder_with_something_in_it(exported, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for name in ("full", "link"):
        with pytest.raises(StorageError, match="not empty"):
            import_archive(exported, tmp_path / name)
    with pytest.raises(StorageError, match="folder above"):
        import_archive(exported, tmp_path / "no" / "such")
    with pytest.raises(StorageError, match="no such file"):
        import_archive(tmp_path / "no.zip", tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "link"]
    (tmp_path / "empty").mkdir()
    import_archive(exported, tmp_path / "empty")


# ---- what is needed -------------------------------------------------------------------------------------------------


def flip(store: Store, *, but_none_of: Collection[str] = ()) -> Path:
    """Change a bit of a result that was verified before, and leave size and time of its file as they are."""
    key, kind = next((key, kind) for key, kind in store.results() if key not in but_none_of)
    assert store.has(key)
    path = store.path(key, kind)
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return path


def test_what_was_verified_before_is_verified_again(finished, monkeypatch):
    campaign = Campaign.load(finished())
    store = Store(campaign.run_folder / "store")
    assert verify_store(store).is_whole
    read: set[str] = set()
    load = Store.load
    with monkeypatch.context() as patched:
        patched.setattr(Store, "load", lambda self, key: (read.add(key), load(self, key))[1])
        assert campaign.status().is_done
    path = flip(store, but_none_of=read)
    assert campaign.status().is_done  # by size and time
    found = verify_store(store)
    assert [fault.path for fault in found.damaged] == [path]
    assert path.exists()
    verify_store(store, set_aside=True)
    assert not path.exists()
    assert [aside.name[:64] for aside in (store.root / "damaged").iterdir()] == [path.name[:64]]
    assert verify_store(store).is_whole
    assert len(campaign.status().pending) == 1


def test_what_cannot_be_read_is_no_damage(finished, monkeypatch):
    store = Store(Campaign.load(finished()).run_folder / "store")
    first = store.path(*next(iter(store.results())))

    def failing(path: Path, key: str, kind: Kind) -> None:
        if path == first:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        verify(path, key, kind)

    monkeypatch.setattr(inventory, "verify", failing)
    found = verify_store(store, set_aside=True)
    assert ([fault.path for fault in found.unreadable], found.damaged, found.is_whole) == ([first], (), False)
    assert first.exists()


def test_only_what_no_campaign_file_needs_is_removed(finished):
    path = finished(("analyse: {density_grid_A: 1.0}", "analyse: null"))
    campaign = Campaign.load(path)
    assert campaign.status().is_done
    store = Store(campaign.run_folder / "store")
    before = {key for key, _ in store.results()}
    (store.root / "tmp" / f"part-{Owner.current().host}_0_1_1-{'0' * 32}").write_bytes(b"x" * 10)
    damaged = store.root / "damaged"
    damaged.mkdir()
    (damaged / f"{'a' * 64}.zip-01234567").write_bytes(b"x" * 10)
    (damaged / "mine.txt").write_text("years of work")
    # Two campaign files may share a run folder: what either needs stays.
    other = path.with_name("other.yml")
    other.write_text(
        path.read_text().replace("analyse: null", "analyse: {density_grid_A: 1.0}\n").replace("small", "o")
    )
    (shared,) = clean([path.parent], run_folder=campaign.run_folder)
    assert (shared.needed, shared.unneeded) == (len(before), ())
    other.write_text(other.read_text().replace("seed: 7", "seed: 8"))
    with pytest.raises(StorageError, match="not finished"):
        clean([path.parent], run_folder=campaign.run_folder, delete=True)
    other.write_text("superionic: 1\nname: [")
    with pytest.raises(CampaignFileError) as caught:
        clean([path.parent], delete=True)
    assert "other.yml" in str(caught.value)
    other.unlink()
    (found,) = clean([path.parent], damaged_days=0.0)
    unneeded = {item.key for item in found.unneeded}
    assert {item.stage for item in found.unneeded} == {"analyse"}
    assert len(unneeded) == 7
    assert (found.damaged, found.leftovers, found.deleted) == (Amount(1, 10), found.damaged, False)
    assert {key for key, _ in store.results()} == before
    clean([path.parent], delete=True, damaged_days=0.0)
    assert {key for key, _ in store.results()} == before - unneeded
    assert [left.name for left in damaged.iterdir()] == ["mine.txt"]
    assert not list((store.root / "tmp").iterdir())
    assert Campaign.load(path).status().is_done
