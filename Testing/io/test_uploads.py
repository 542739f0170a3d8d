"""Uploads: nothing of a browser's names becomes a path, hostile archives are refused before a byte is unpacked."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from MRDeltaNetLib.errors import EnvironmentProblem, InputError
from MRDeltaNetLib.io import uploads
from MRDeltaNetLib.io.uploads import Incoming, UploadLimits, store


def archive(*members, method=zipfile.ZIP_DEFLATED):
    """A zip in memory; members: (name or ZipInfo, bytes)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as written:
        for name, content in members:
            written.writestr(name, content)
    return io.BytesIO(stream.getvalue())


def refused(folder: Path, content, limits=UploadLimits(), name="scan.zip") -> InputError:
    with pytest.raises(InputError) as caught:
        store([(name, content)], folder, limits)
    assert not any(path.is_file() for path in folder.rglob("*")) and not list(folder.parent.glob("*.txt"))
    return caught.value


def test_one_file_keeps_its_ending_and_nothing_else_of_its_name(tmp_path):
    path = store([("MUSTERMANN^ERIKA/../../T2.NII.GZ", io.BytesIO(b"abc"))], tmp_path / "new")
    assert path == tmp_path / "new" / "00001.nii.gz" and path.read_bytes() == b"abc"


def test_the_files_of_a_dicom_series_become_a_folder_of_numbers(tmp_path):
    folder = store([(f"IM{k}", io.BytesIO(bytes([k]) * 200)) for k in range(3)], tmp_path / "new")
    assert folder == tmp_path / "new" and [path.name for path in sorted(folder.iterdir())] == ["00001", "00002", "00003"]


def test_an_archive_is_unpacked_without_its_folders_and_litter(tmp_path):
    content = archive(("a/", b""), ("a/1.dcm", b"one"), ("a/b/2.dcm", b"two"), ("__MACOSX/a/1.dcm", b"litter"), ("a/.DS_Store", b"litter"))
    folder = store([("x.zip", content)], tmp_path / "new")
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [b"one", b"two"]


def test_an_archive_with_one_volume_opens_that_file(tmp_path):
    assert store([("x.bin", archive(("case/t2.nrrd", b"NRRD0004")))], tmp_path / "new").name == "00001.nrrd"


@pytest.mark.parametrize("name", ["../x.dcm", "a/../../x.dcm", "/etc/x", "C:/Windows/x", "C:x", "\\\\server\\share", "a\\..\\x", "CON", "a/nul.txt", "aux.dcm",
                                  "a/com1", "x.dcm.", "x ", "a./x", "gpj\u202edcm.x", "a\u200fb", "bell\x07", "n" * 300])
def test_a_name_that_means_harm_is_refused_and_nothing_is_unpacked(tmp_path, name):
    problem = refused(tmp_path / "new", archive(("1.dcm", b"fine"), (name, b"evil")))
    assert problem.code == "MRD-E913" and "member 2" in problem.found and name not in problem.text()


def test_a_nul_that_hides_the_rest_of_a_name_is_seen(tmp_path):
    content = archive(("safeXevil.exe", b"evil")).getvalue().replace(b"safeX", b"safe\0")
    assert refused(tmp_path / "new", io.BytesIO(content)).code == "MRD-E913"


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFIFO | 0o600, stat.S_IFREG | stat.S_ISUID | 0o755, stat.S_IFREG | stat.S_ISGID | 0o755])
def test_links_devices_and_setuid_files_are_refused(tmp_path, mode):
    member = zipfile.ZipInfo("1.dcm")
    member.create_system, member.external_attr = 3, mode << 16
    assert refused(tmp_path / "new", archive((member, b"/etc/passwd"))).code == "MRD-E913"


@pytest.mark.parametrize("first, second", [("a.dcm", "A.DCM"), ("\u00e1.dcm", "a\u0301.dcm"), ("stra\u00dfe", "STRASSE")])
def test_two_members_of_one_name_are_refused_also_if_only_their_case_or_their_spelling_differs(tmp_path, first, second):
    assert refused(tmp_path / "new", archive((first, b"1"), (second, b"2"))).found == "member 2: two members of one name"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_way_of_packing_whose_bombs_are_larger_is_refused(tmp_path, method):
    assert "packing" in refused(tmp_path / "new", archive(("1.dcm", b"abc"), method=method)).found


def test_what_a_directory_claims_is_refused_before_a_byte_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads._Store, "add", lambda *_: pytest.fail("a member was unpacked"))
    limits = UploadLimits(max_bytes=100, max_files=2)
    assert "MiB" in refused(tmp_path / "a", archive(("1.dcm", b"x" * 60), ("2.dcm", b"x" * 60)), limits).found
    assert refused(tmp_path / "b", archive(*((f"{number}.dcm", b"x") for number in range(3))), limits).found == "more than 2"


def test_an_archive_inside_an_archive_is_refused(tmp_path):
    assert "archive inside" in refused(tmp_path / "new", archive(("inner.zip", archive(("1.dcm", b"x")).getvalue()))).found


def test_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked(tmp_path):
    assert "far more" in refused(tmp_path / "new", archive(("1.dcm", b"\0" * 8 * 1024**2))).found


def test_a_directory_of_millions_of_members_is_refused_before_it_is_read(tmp_path, monkeypatch):
    """Members cost a sender 47 bytes each and a reader a thousand. Here long remarks make the directory large, so that no other limit speaks."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        for number in range(100):
            member = zipfile.ZipInfo(f"{number}.dcm")
            member.comment = b"x" * 60_000
            written.writestr(member, b"x")
    monkeypatch.setattr(uploads, "_look_at", lambda *_: pytest.fail("the directory was read"))
    assert refused(tmp_path / "new", io.BytesIO(stream.getvalue())).code == "MRD-E911"


def test_a_remark_behind_an_archive_is_no_part_of_it(tmp_path):
    """zipfile looks for the directory's end from the end of the file; a remark may stand there."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("t2.nrrd", b"NRRD0004" * 400_000)
        written.comment = b"x" * 60_000
    assert store([("a.zip", io.BytesIO(stream.getvalue()))], tmp_path / "new").stat().st_size == 3_200_000


def test_a_forged_size_is_found_by_counting_what_really_comes(tmp_path):
    limits = UploadLimits(max_bytes=1000, ratio_from_bytes=10**9)
    content = bytearray(archive(("1.dcm", os.urandom(5000)), method=zipfile.ZIP_STORED).getvalue())
    for marker, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = content.find(marker) + offset
        content[place:place + 4] = struct.pack("<I", 500)
    assert refused(tmp_path / "new", io.BytesIO(bytes(content)), limits).code in ("MRD-E911", "MRD-E912", "MRD-E913")


def test_members_that_share_their_bytes_are_refused(tmp_path):
    content = bytearray(archive(("a.dcm", b"1" * 100), ("b.dcm", b"2" * 100), method=zipfile.ZIP_STORED).getvalue())
    second = content.find(b"PK\x01\x02", content.find(b"PK\x01\x02") + 4)
    content[second + 42:second + 46] = struct.pack("<I", 0)
    assert refused(tmp_path / "new", io.BytesIO(bytes(content))).found == "member 2: members that share their bytes"


def test_an_encrypted_member_is_refused(tmp_path):
    content = bytearray(archive(("1.dcm", b"abc")).getvalue())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    assert refused(tmp_path / "new", io.BytesIO(bytes(content))).found == "member 1: an encrypted member"


def test_a_wrong_checksum_is_damage(tmp_path):
    content = bytearray(archive(("1.dcm", b"abcabc"), method=zipfile.ZIP_STORED).getvalue())
    content[content.find(b"abcabc")] ^= 1
    assert refused(tmp_path / "new", io.BytesIO(bytes(content))).code == "MRD-E912"


def test_a_cut_archive_is_damage(tmp_path):
    assert refused(tmp_path / "new", io.BytesIO(archive(("1.dcm", b"abc" * 100)).getvalue()[:-30])).code == "MRD-E912"


def test_too_many_and_too_large_say_so(tmp_path):
    limits = UploadLimits(max_bytes=100, max_files=2)
    assert refused(tmp_path / "a", archive(*((f"{k}.dcm", b"x") for k in range(3))), limits).code == "MRD-E911"
    assert refused(tmp_path / "b", archive(("1.dcm", b"x" * 101)), limits).code == "MRD-E911"
    assert refused(tmp_path / "c", io.BytesIO(b"x" * 101), limits, "scan.nrrd").code == "MRD-E911"


def test_two_volumes_are_not_one_scan_and_no_file_is_none(tmp_path):
    with pytest.raises(InputError, match="several"):
        store([("a.nrrd", io.BytesIO(b"1")), ("b.nii", io.BytesIO(b"2"))], tmp_path / "a")
    with pytest.raises(InputError, match="Nothing"):
        store([], tmp_path / "b")
    assert refused(tmp_path / "c", archive()).code in ("MRD-E910", "MRD-E912")


def test_two_archives_are_counted_together(tmp_path):
    limits = UploadLimits(max_bytes=100, max_files=3)
    two = [("a.zip", archive(("1.dcm", b"x" * 60))), ("b.zip", archive(("1.dcm", b"x" * 60)))]
    with pytest.raises(InputError, match="MRD-E911"):
        store(two, tmp_path / "a", limits)
    many = [(f"{number}.zip", archive(("1.dcm", b"x"), ("2.dcm", b"x"))) for number in range(2)]
    with pytest.raises(InputError, match="MRD-E911"):
        store(many, tmp_path / "b", limits)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("name", ["scan.nhdr", "scan.MHD", "scan.hdr"])
def test_a_format_of_two_files_says_what_to_save_instead(tmp_path, name):
    problem = refused(tmp_path / "new", io.BytesIO(b"x"), name=name)
    assert problem.code == "MRD-E914" and ".nrrd" in problem.fix


def test_what_arrives_in_pieces_is_stored_as_it_was_sent(tmp_path):
    incoming = Incoming(announced_bytes=3000)
    for name, content in (("a.dcm", b"1" * 1000), ("b.dcm", b"2" * 2000)):
        incoming.begin(name)
        for start in range(0, len(content), 300):
            incoming.add(content[start:start + 300])
    assert incoming.share() == 1.0
    folder = incoming.store(tmp_path / "new")
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [b"1" * 1000, b"2" * 2000]
    incoming.close()


def test_too_much_is_refused_by_what_was_announced_and_by_what_really_comes(tmp_path):
    limits = UploadLimits(max_sent_bytes=1000)
    with pytest.raises(InputError) as caught:
        Incoming(announced_bytes=1000 + uploads.SENT_BESIDE_FILES_BYTES + 1, limits=limits)
    assert caught.value.code == "MRD-E911"
    incoming = Incoming(announced_bytes=10, limits=limits)
    incoming.begin("a.dcm")
    with pytest.raises(InputError, match="too large"):
        for _ in range(11):
            incoming.add(b"x" * 100)


def test_too_many_files_are_refused_when_the_first_that_is_too_many_begins():
    incoming = Incoming(limits=UploadLimits(max_files=2))
    incoming.begin("a")
    incoming.begin("b")
    with pytest.raises(InputError, match="too many"):
        incoming.begin("c")
    assert incoming.share() is None


def test_a_disk_without_space_is_told_and_leaves_nothing(tmp_path):
    class Full(io.BytesIO):
        """Stands for a write that fails: the system's error comes while a file is copied."""

        def read(self, count=-1):
            if count > 4:
                raise OSError(28, "No space left on device")
            return super().read(count)

    with pytest.raises(EnvironmentProblem) as caught:
        store([("a.dcm", Full(b"x" * 100))], tmp_path / "new")
    assert caught.value.code == "MRD-E810" and not any(path.is_file() for path in (tmp_path / "new").rglob("*"))
