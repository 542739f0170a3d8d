"""Download 3D Slicer for this machine, check what came, unpack it, and say where its launcher is (on GitHub: as the output `slicer`).

python install_slicer.py release 5.12 FOLDER     the newest 5.12.x
python install_slicer.py nightly latest FOLDER   the newest preview
Python's standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

SERVER = "https://download.slicer.org"
SYSTEMS = {"Linux": "linux", "Windows": "win", "Darwin": "macosx"}
CHUNK_BYTES = 1 << 20
ANSWER_S = 60


def question(system: str, stability: str, version: str) -> str:
    """Address that answers with the record of a package, as JSON; version "latest" leaves the choice to the server."""
    asked = {"os": SYSTEMS[system], "stability": stability} | ({} if version == "latest" else {"version": version})
    return f"{SERVER}/find?{urllib.parse.urlencode(asked)}"


def fault(path: Path, record: dict) -> str:
    """What is wrong with a downloaded file by its record's size in bytes and SHA-512; "" if nothing is."""
    if path.stat().st_size != int(record["size"]):
        return f"{path.stat().st_size} bytes came instead of {record['size']}"
    if not record.get("sha512"):
        return "the server names no SHA-512"
    digest = hashlib.sha512()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return "" if digest.hexdigest() == record["sha512"] else "the SHA-512 is another one than the server's"


def download(stability: str, version: str, folder: Path) -> Path:
    """The package in a folder, checked.

    raises SystemExit if it is not what the server says it is
    """
    with urllib.request.urlopen(question(platform.system(), stability, version), timeout=ANSWER_S) as answer:
        record = json.load(answer)
    path = folder / "package"
    with urllib.request.urlopen(urllib.parse.urljoin(SERVER, record["download_url"]), timeout=ANSWER_S) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK_BYTES)
    print(f"{record['product_name']} {record['version']}, revision {record['revision']}, built {record['build_date_ymd']}")
    if wrong := fault(path, record):
        raise SystemExit(f"{record['name']} cannot be used: {wrong}")
    return path


def unpack(package: Path, folder: Path) -> Path:
    """Install the package below a folder; the launcher."""
    system = platform.system()
    if system == "Linux":
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="tar")
        return next(folder.glob("Slicer-*/Slicer"))
    if system == "Windows":
        installer = package.rename(package.with_suffix(".exe"))
        subprocess.run([str(installer), "/S", f"/D={folder / 'Slicer'}"], check=True)
        return folder / "Slicer" / "Slicer.exe"
    volume = folder / "volume"
    image = package.rename(package.with_suffix(".dmg"))
    agreed = "Y\n" * 100                              # the licence is asked for on the terminal
    subprocess.run(["hdiutil", "attach", "-nobrowse", "-readonly", "-mountpoint", str(volume), str(image)],
                   input=agreed, text=True, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PAGER": "cat"})
    subprocess.run(["ditto", str(volume / "Slicer.app"), str(folder / "Slicer.app")], check=True)
    subprocess.run(["hdiutil", "detach", str(volume)], check=True)
    return folder / "Slicer.app" / "Contents" / "MacOS" / "Slicer"


def main() -> None:
    stability, version, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    launcher = unpack(download(stability, version, folder), folder)
    if not launcher.is_file():
        raise SystemExit(f"unpacked, but {launcher.name} is not there")
    print(launcher)
    if "GITHUB_OUTPUT" in os.environ:
        with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
            output.write(f"slicer={launcher}\n")


if __name__ == "__main__":
    main()
