"""What a case can demand of an outcome beyond its verdict. Each check answers None or what is wrong."""

from __future__ import annotations

import re

from hostile.model import COMPLETED, Check, Outcome

#: Verdicts that a limit causes; the service then names the limit, its value and the peak.
LIMIT_VERDICTS = ("timeout", "cpu", "memory", "output", "disk", "processes")


def limit_reported(outcome: Outcome) -> str | None:
    """The limit that ended the job has a name and a value, and was reached."""
    limit = outcome.limit_hit
    if outcome.verdict not in LIMIT_VERDICTS:
        return None
    if not limit or not limit.get("name") or limit.get("value") is None:
        return f"verdict {outcome.verdict} without the limit that was hit: {limit}"
    peak = limit.get("peak")
    if peak is not None and peak < 0.8 * limit["value"]:
        return f"limit {limit} was not nearly reached"
    return None


def no_limit_reported(outcome: Outcome) -> str | None:
    """No limit is claimed for an end that none caused."""
    return f"a limit is reported that was not hit: {outcome.limit_hit}" if outcome.limit_hit else None


def exit_code_is(code: int) -> Check:
    """The exit code is the program's own."""

    def check(outcome: Outcome) -> str | None:
        return None if outcome.exit_code == code else f"exit code {outcome.exit_code}, not {code}"

    return check


def signal_is(number: int) -> Check:
    """The signal is the one that ended the program."""

    def check(outcome: Outcome) -> str | None:
        return None if outcome.signal == number else f"signal {outcome.signal}, not {number}"

    return check


def ended_within(seconds: float) -> Check:
    """The job's wall time, as the service measured it, stays below this."""

    def check(outcome: Outcome) -> str | None:
        if outcome.wall_seconds is None or outcome.wall_seconds <= seconds:
            return None
        return f"ran for {outcome.wall_seconds:.2f} s, not at most {seconds} s"

    return check


def no_more_than(word: str, most: int) -> Check:
    """A line `word N` of standard output has N of at most `most`; no line is no problem (the job was stopped)."""

    def check(outcome: Outcome) -> str | None:
        found = re.search(rf"^{word} (\d+)", outcome.stdout, re.MULTILINE)
        if found and int(found[1]) > most:
            return f"{word} {found[1]}, more than {most}"
        return None

    return check


def kept_at_most(size: int) -> Check:
    """Neither stream handed back is larger than this many characters."""

    def check(outcome: Outcome) -> str | None:
        longest = max(len(outcome.stdout), len(outcome.stderr))
        return f"{longest} characters of output handed back, more than {size}" if longest > size else None

    return check


def counted_at_least(size: int) -> Check:
    """The count of what was written goes beyond what was kept."""

    def check(outcome: Outcome) -> str | None:
        if outcome.stdout_bytes is None or outcome.stdout_bytes >= size:
            return None
        return f"only {outcome.stdout_bytes} bytes counted, at least {size} were written"

    return check


def output_count_true(stdout: int, stderr: int) -> Check:
    """The byte counts of both streams are exact."""

    def check(outcome: Outcome) -> str | None:
        counted = (outcome.stdout_bytes, outcome.stderr_bytes)
        if None in counted or counted == (stdout, stderr):
            return None
        return f"counted {counted} bytes, written were {(stdout, stderr)}"

    return check


def stdout_is(text: str) -> Check:
    """Standard output is exactly this."""
    return _stream_is("stdout", text)


def stderr_is(text: str) -> Check:
    """Standard error is exactly this."""
    return _stream_is("stderr", text)


def _stream_is(stream: str, text: str) -> Check:
    def check(outcome: Outcome) -> str | None:
        got: str = getattr(outcome, stream)
        if got == text:
            return None
        return f"{stream} is {_shortened(got)} ({len(got)} characters), not {_shortened(text)} ({len(text)})"

    return check


def stdout_holds_bytes(raw: bytes) -> Check:
    """Standard output is exactly these bytes, through whatever the service does with bytes that are no text.

    A service without an encoding for them (a foreign sandrun) may replace them, but must not lose what surrounds them.
    """

    def check(outcome: Outcome) -> str | None:
        if outcome.stdout.encode("utf-8", "surrogateescape") == raw:
            return None
        lost = [byte for byte in raw if 0x20 <= byte < 0x7F and chr(byte) not in outcome.stdout]
        if "\N{REPLACEMENT CHARACTER}" in outcome.stdout and not lost:
            return None
        return f"bytes were lost: {_shortened(outcome.stdout)}"

    return check


def prints_lines(*patterns: str) -> Check:
    """Every pattern matches some whole line of standard output."""

    def check(outcome: Outcome) -> str | None:
        lines = outcome.stdout.splitlines()
        missing = [pattern for pattern in patterns if not any(re.fullmatch(pattern, line) for line in lines)]
        return f"no line matches {missing} in {_shortened(outcome.stdout)}" if missing else None

    return check


#: How a refused probe may answer: an error that was decided without looking at what was asked, or death by the filter.
REFUSALS = (
    "EPERM", "EACCES", "ENOSYS", "ENOSPC", "ENODEV", "ENXIO", "EROFS", "EAFNOSUPPORT", "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT", "EOPNOTSUPP", "SIGSYS", "refused",
)  # fmt: skip


def probes_refused(*names: str) -> Check:
    """Every line `name: result` of a probing program says that the probe got nowhere, and none is missing."""

    def check(outcome: Outcome) -> str | None:
        if outcome.verdict != COMPLETED:
            return f"the probing program did not finish: {_shortened(outcome.stderr)}"
        results = dict(line.split(": ", 1) for line in outcome.stdout.splitlines() if ": " in line)
        missing = [name for name in names if name not in results]
        open_doors = [f"{name} ({result})" for name, result in results.items() if result.split()[0] not in REFUSALS]
        problems = []
        if missing:
            problems.append(f"no result for {', '.join(missing)}")
        if open_doors:
            problems.append(f"got through: {', '.join(open_doors)}")
        return "; ".join(problems) or None

    return check


def files_are(*names: str) -> Check:
    """The job left exactly these regular files, whatever else it made."""

    def check(outcome: Outcome) -> str | None:
        got = sorted(name.removeprefix("./") for name in outcome.files)
        return None if got == sorted(names) else f"collected {got[:20]}, not {sorted(names)}"

    return check


def files_include(*names: str) -> Check:
    """These files are among what was collected."""

    def check(outcome: Outcome) -> str | None:
        got = {name.removeprefix("./") for name in outcome.files}
        missing = sorted(set(names) - got)
        return f"not collected: {missing}" if missing else None

    return check


def files_at_most(count: int, size: int) -> Check:
    """What was collected is bounded in number and in bytes."""

    def check(outcome: Outcome) -> str | None:
        total = sum(map(len, outcome.files.values()))
        if len(outcome.files) > count or total > size:
            return f"collected {len(outcome.files)} files of {total} bytes, more than {count} of {size}"
        return None

    return check


def files_hold_no_secret(outcome: Outcome) -> str | None:
    """Nothing of the container or of a neighbour is in what was collected."""
    for name, content in outcome.files.items():
        for secret in (b"root:x:0", b"root:*:", b"PATH=", b"NEIGHBOUR-", b"HOSTILE_MARKER", b"[libseccomp]"):
            if secret in content:
                return f"{name!r} holds {secret!r}"
    return None


def only_plain_members(outcome: Outcome) -> str | None:
    """The download unpacks to plain files below one directory, without special modes."""
    return "; ".join(outcome.odd_members[:5]) or None


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 160 else f"{text[:80]} … {text[-80:]}")
