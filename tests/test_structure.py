"""The structure holds: imports run inward, the wheel carries the product and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "adapters", "simulators")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [str(program), "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(folder), "NO_COLOR": "1"},
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("planted_in", "forbidden"),
    [
        ("gateway/fleet.py", "gateway.alarms.engine"),
        ("gateway/model.py", "gateway.ports"),
        ("adapters/schedule.py", "gateway.app"),
        ("simulators/port.py", "gateway.model"),
        ("adapters/schedule.py", "simulators.port"),
    ],
)
def test_a_forbidden_import_is_found(copy: Path, planted_in: str, forbidden: str) -> None:
    target = copy / planted_in
    target.write_text(target.read_text() + f"\nimport {forbidden}  # planted\n")
    found = lint_imports(copy)
    assert found.returncode == 1, found.stdout
    assert forbidden in found.stdout


def test_the_imports_are_as_they_should_be(copy: Path) -> None:
    found = lint_imports(copy)
    assert found.returncode == 0, found.stdout


def test_the_wheel_holds_the_product_alone_and_checks_settings(copy: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"],
        cwd=copy,
        capture_output=True,
        timeout=120,
        check=True,
    )
    [wheel] = (copy / "dist").glob("kuzet_gateway-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "gateway",
        "adapters",
    }
    assert "gateway/console/locales/kk/LC_MESSAGES/kuzet.po" in names
    assert any(name.startswith("gateway/journal/schema/") for name in names)

    clean = copy / "clean"
    subprocess.run([sys.executable, "-m", "venv", str(clean)], timeout=120, check=True)
    pip = [str(clean / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    requirements = str(ROOT / "requirements" / "product.txt")
    subprocess.run([*pip, "--require-hashes", "-r", requirements], timeout=300, check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], timeout=120, check=True)
    kuzet = str(clean / "bin" / "kuzet")
    settings = copy / "gateway.toml"
    settings.write_text("[gateway]\nnmae = 'x'\n")
    checked = subprocess.run(
        [kuzet, "check", "-c", str(settings)],
        cwd=copy / "dist",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 2
    assert "gateway.toml:2:1:" in checked.stderr
    demo = subprocess.run(
        [kuzet, "demo"], cwd=copy / "dist", capture_output=True, text=True, timeout=60, check=False
    )
    assert demo.returncode == 2
    assert "needs the checkout" in demo.stderr
