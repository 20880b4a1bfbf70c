"""`lucid verify-code`: has the running service verify source files, and ends with a code that a build can go by."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import click

from cli.output import home_endpoints
from cli.source_files import SourceFile, UnusablePath, listed_paths, source_files
from cli.verification_client import ServiceFault, VerificationClient
from cli.verification_report import Outcome, as_json, as_sarif, as_text, plain

CLEAN, FINDINGS, USAGE, SERVICE = 0, 1, 2, 3
_COUNTED = {"FAIL": ("failed",), "PARTIAL": ("failed", "partial"), "never": ()}
_FORMATS = {"text": as_text, "json": as_json, "sarif": as_sarif}


@click.command("verify-code")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--files-from",
    type=click.File("rb"),
    metavar="FILE",
    help="Read more PATHS from FILE, or from standard input where it is -: one a line, or separated by NUL.",
)
@click.option(
    "--language",
    help="Of the files named, such as python; otherwise their suffixes tell. Directories are limited to its files.",
)
@click.option(
    "--context",
    metavar="TEXT|@FILE",
    help='What the code should do, as text or in a file. Examples such as "add(1, 2) == 3" are taken as given.',
)
@click.option(
    "--url", envvar="LUCID_URL", help="Where the service is. Default: $LUCID_URL, or what `lucid up` runs here."
)
@click.option("--key", envvar="LUCID_API_KEY", help="An API key; better $LUCID_API_KEY, which no process list shows.")
@click.option(
    "--fail-on",
    type=click.Choice(list(_COUNTED)),
    default="FAIL",
    show_default=True,
    help="The least verdict that is a finding, and ends with 1.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="text",
    show_default=True,
    help="text for people, json with all there is, sarif for code hosts.",
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Where the report goes. Default: stdout."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=900,
    show_default=True,
    metavar="SECONDS",
    help="How long one file may take.",
)
def verify_code(
    paths: tuple[Path, ...],
    files_from: BinaryIO | None,
    language: str | None,
    context: str | None,
    url: str | None,
    key: str | None,
    fail_on: str,
    form: str,
    output: Path | None,
    timeout_s: float,
) -> None:
    """Verify source files: claims about them are run, and what failed is reported.

    PATHS are files and directories. A directory stands for the files in it whose suffixes tell a language; in a git repository,
    without those it ignores. Python, JavaScript and TypeScript are run; of Go, Java, Rust, C, C++ and Ruby the syntax is checked.

    Each file is sent to the service, one after the other, and is one verification of the month's. It takes seconds to minutes. Files
    without text are skipped.

    \b
    Exit codes:
      0    nothing found
      1    findings
      2    the command line is wrong
      3    the service did not verify every file
      130  interrupted

    \b
    Examples:
      lucid verify-code price.py --context "price(100, 0.2) == 80"
      lucid verify-code src --format sarif --output lucid.sarif
      git diff -z --name-only --diff-filter=d main -- '*.py' | lucid verify-code --files-from -
    """
    files = _files(paths, files_from, language)
    _require_folder(output)
    outcomes: list[Outcome] = []
    if files:
        with closing(VerificationClient(_url(url), key=_key(key), timeout_s=timeout_s)) as client:
            outcomes = _verified(client, files, context=_context(context), with_sarif=form == "sarif")
    _write(_FORMATS[form](outcomes), output)
    sys.exit(_exit_code(outcomes, fail_on))


def _verified(
    client: VerificationClient, files: list[SourceFile], *, context: str | None, with_sarif: bool
) -> list[Outcome]:
    """Verify one file after the other. A fault that concerns them all ends it, and is told of the rest."""
    outcomes: list[Outcome] = []
    final: ServiceFault | None = None
    for number, file in enumerate(files, start=1):
        if final is not None:
            outcomes.append(Outcome(file.path, fault=str(final)))
            continue
        _say(f"[{number}/{len(files)}] {file.path}")
        try:
            result = client.verify(file.code, language=file.language, context=context)
            sarif = client.sarif(result["request_id"]) if with_sarif else None
            outcomes.append(Outcome(file.path, result=result, sarif=sarif))
        except ServiceFault as fault:
            outcomes.append(Outcome(file.path, fault=str(fault)))
            _say(f"{file.path}: not verified: {fault}")
            final = fault if fault.is_final else None
    return outcomes


def _exit_code(outcomes: list[Outcome], fail_on: str) -> int:
    if any(outcome.result is None for outcome in outcomes):
        return SERVICE
    has_findings = any(outcome.count(name) for outcome in outcomes for name in _COUNTED[fail_on])
    return FINDINGS if has_findings else CLEAN


def _files(paths: tuple[Path, ...], files_from: BinaryIO | None, language: str | None) -> list[SourceFile]:
    """Return the files to verify, and say which are skipped. A list without names is none to verify, and no mistake."""
    if not paths and files_from is None:
        raise click.UsageError("Missing argument 'PATHS...': name files or directories, or give --files-from.")
    paths += listed_paths(files_from.read()) if files_from is not None else ()
    try:
        files = source_files(paths, language=language)
    except UnusablePath as error:
        raise click.UsageError(plain(str(error))) from error
    for file in files:
        if file.skipped:
            _say(f"{file.path}: skipped: {file.skipped}")
    if paths and all(file.fault for file in files):
        raise click.UsageError("there is no source code in what was named")
    wanted = [file for file in files if not file.skipped]
    if not wanted:
        _say("there is nothing to verify")
    return wanted


def _url(url: str | None) -> str:
    found = url or home_endpoints().get("web", "")
    if not found:
        raise click.UsageError("no service is running in this home; name one with --url or LUCID_URL")
    if not str(found).startswith(("http://", "https://")):
        raise click.UsageError(f"{found} is no address of a service: it begins with neither http:// nor https://")
    return str(found)


def _key(key: str | None) -> str:
    if not key:
        raise click.UsageError(
            "an API key is needed: LUCID_API_KEY, or --key. `lucid keys create` makes one where the service runs"
        )
    if not key.isascii() or not key.isprintable():
        raise click.UsageError("the API key holds what no key holds: was it cut short?")
    return key


def _context(context: str | None) -> str | None:
    if context is None or not context.startswith("@"):
        return context
    try:
        return Path(context[1:]).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise click.UsageError(f"cannot read {context[1:]}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"cannot read {context[1:]}: it is not UTF-8") from error


def _require_folder(output: Path | None) -> None:
    """Refuse before anything is verified what could not be written after it."""
    if output is not None and not output.parent.is_dir():
        raise click.UsageError(f"cannot write {output}: there is no folder {output.parent}")


def _say(line: str) -> None:
    """Tell on stderr how it goes: stdout is the report's."""
    click.echo(plain(line), err=True)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=bool(text))
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from error
