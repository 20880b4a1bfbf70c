"""`lucid verify-code`: has the running service verify source files, and ends with a code that a build can go by."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli.output import home_endpoints
from cli.source_files import SourceFile, UnusablePath, source_files
from cli.verification_client import ServiceFault, VerificationClient
from cli.verification_report import Outcome, as_json, as_sarif, as_text

CLEAN, FINDINGS, USAGE, SERVICE = 0, 1, 2, 3
_COUNTED = {"FAIL": ("failed",), "PARTIAL": ("failed", "partial"), "never": ()}
_FORMATS = {"text": as_text, "json": as_json, "sarif": as_sarif}


@click.command("verify-code")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--language", help="Of every file; otherwise their suffixes tell. Limits directories to it.")
@click.option("--context", help="What the code should do; @FILE reads it from a file.")
@click.option("--url", envvar="LUCID_URL", help="The service. Default: $LUCID_URL, or the stack of this home.")
@click.option("--key", envvar="LUCID_API_KEY", help="An API key; better $LUCID_API_KEY, which no process list shows.")
@click.option("--fail-on", type=click.Choice(list(_COUNTED)), default="FAIL", show_default=True)
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="text", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Where to; default stdout.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=900, show_default=True, help="Seconds a file."
)
def verify_code(
    paths: tuple[Path, ...],
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

    A directory stands for the files in it whose suffixes tell a language; in a git repository, without those it ignores. Each file
    is one verification of the month's.

    Exit code 0 where nothing is found, 1 with findings (--fail-on says from which verdict on), 2 where the command line is wrong, 3
    where the service did not verify every file.
    """
    files = _files(paths, language)
    client = VerificationClient(_url(url), key=_key(key), timeout_s=timeout_s)
    try:
        outcomes = _verified(client, files, context=_context(context), with_sarif=form == "sarif")
    finally:
        client.close()
    _write(_FORMATS[form](outcomes), output)
    sys.exit(_exit_code(outcomes, fail_on))


def _verified(
    client: VerificationClient, files: list[SourceFile], *, context: str | None, with_sarif: bool
) -> list[Outcome]:
    """Verify one file after the other. A fault that concerns them all ends it, and is told of the rest."""
    outcomes: list[Outcome] = []
    final: ServiceFault | None = None
    for file in files:
        if final is not None:
            outcomes.append(Outcome(file.path, fault=str(final)))
            continue
        try:
            result = client.verify(file.code, language=file.language, context=context)
            sarif = client.sarif(result["request_id"]) if with_sarif else None
            outcomes.append(Outcome(file.path, result=result, sarif=sarif))
        except ServiceFault as fault:
            outcomes.append(Outcome(file.path, fault=str(fault)))
            click.echo(f"{file.path}: not verified: {fault}", err=True)
            final = fault if fault.is_final else None
    return outcomes


def _exit_code(outcomes: list[Outcome], fail_on: str) -> int:
    if any(outcome.result is None for outcome in outcomes):
        return SERVICE
    has_findings = any(outcome.count(name) for outcome in outcomes for name in _COUNTED[fail_on])
    return FINDINGS if has_findings else CLEAN


def _files(paths: tuple[Path, ...], language: str | None) -> list[SourceFile]:
    try:
        files = source_files(paths, language=language)
    except UnusablePath as error:
        raise click.UsageError(str(error)) from error
    if not files:
        raise click.UsageError("there is no source code in what was named")
    return files


def _url(url: str | None) -> str:
    found = url or home_endpoints().get("web", "")
    if not found:
        raise click.UsageError("no service is running in this home; name one with --url or LUCID_URL")
    return str(found)


def _key(key: str | None) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise click.UsageError("an API key is needed: LUCID_API_KEY, or --key")
    return key


def _context(context: str | None) -> str | None:
    if context is None or not context.startswith("@"):
        return context
    try:
        return Path(context[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {context[1:]}: {type(error).__name__}") from error


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from error
