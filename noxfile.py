"""The project's checks by name: `nox` runs the default ones, `nox -l` lists all.

They run in the environment that nox itself is installed in (`pip install -e '.[dev]'`), since
one environment a session would mean several copies of torch. `.ci/run` starts from a new one.
"""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests", "lint", "types", "imports", "plugins", "docs"]

DOCS = Path("docs")
WEIGHTS = Path("plugins/srkit_faces/weights")  # model cards


def run(session: nox.Session, module: str, *arguments: str, **env: str) -> None:
    """Run ``python -m module`` with nox's own Python, whether or not its venv is activated."""
    session.run(sys.executable, "-m", module, *arguments, env=env)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that take seconds; what follows ``--`` goes to pytest."""
    run(session, "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests that take seconds, and list the lines that none of them reaches."""
    report = "--cov-report=term-missing:skip-covered"
    run(session, "pytest", "--cov=srkit", "--cov=plugins", report, *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Run the tests that take minutes."""
    run(session, "pytest", "-m", "long", *session.posargs)


@nox.session
def cuda(session: nox.Session) -> None:
    """Run the tests that need a CUDA device."""
    run(session, "pytest", "-n", "0", "-m", "cuda", *session.posargs)


@nox.session
def drill(session: nox.Session) -> None:
    """Kill training runs at random moments, and feed broken images by the thousand."""
    run(session, "pytest", "-n", "0", "-m", "drill", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    run(session, "mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Check that imports point one way; the contracts are in pyproject.toml."""
    command = shutil.which("lint-imports", path=Path(sys.executable).parent)
    if command is None:
        session.error("lint-imports is missing: pip install -e '.[dev]'")
    session.run(command)


@nox.session
def plugins(session: nox.Session) -> None:
    """Check what every built-in part promises: a minute or two."""
    env = {"SRKIT_PLUGINS": ""}
    if data := os.environ.get("SRKIT_TEST_DATA"):
        weights = Path(data, "weights", "facenet-casia-webface.pt")
        env |= {"SRKIT_FACENET_WEIGHTS": str(weights)} if weights.is_file() else {}
    run(session, "srkit", "plugins", "check", **env)


@nox.session
def house(session: nox.Session) -> None:
    """Show lines against the plan, layers, the largest parts, words to replace; fails never."""
    session.run(sys.executable, ".ci/house.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Check the generated parts of the documentation, then build it; warnings are errors."""
    texts = [Path("README.md"), *WEIGHTS.glob("*.md"), *DOCS.rglob("*.md")]
    pages = [page for page in texts if "[[[cog" in page.read_text(encoding="utf-8")]
    if pages:
        # Pages show the built-in plugins, whatever else this environment holds.
        run(session, "cogapp", "--check", *sorted(map(str, pages)), SRKIT_PLUGINS="")
    html = str(Path(session.create_tmp()) / "html")
    run(session, "sphinx", "-W", "--keep-going", "-q", str(DOCS), html, SRKIT_PLUGINS="")
    session.run(sys.executable, str(DOCS / "check_site.py"), html)
    # The tutorial and the notebook, whole.
    run(session, "pytest", "-n", "0", "-m", "long", "tests/test_docs.py", "tests/test_notebook.py")
