"""What `session-memory doctor` found: for people and for machines."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, computed_field


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    #: It works, and not as well or not for as long as one would expect.
    WARNING = "warning"
    #: Turns are lost, or nothing is persisted, until it is mended.
    PROBLEM = "problem"


_MARKS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


class Finding(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    name: str
    level: Level
    #: What was found: names, versions, counts; never a password.
    detail: str
    #: What to do about it.
    advice: str | None = None


class Diagnosis(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each level."""
        return {level.value: sum(one.level is level for one in self.findings) for level in Level}

    @property
    def healthy(self) -> bool:
        """Whether nothing has to be mended."""
        return not self.counts[Level.PROBLEM]

    def asstr(self) -> str:
        """For a terminal."""
        lines = []
        for one in self.findings:
            lines.append(f"{_MARKS[one.level]}  {one.name}: {one.detail}")
            if one.advice:
                lines.append(f"         -> {one.advice}")
        counts = self.counts
        lines.append(f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} in order")
        return "\n".join(lines)


def ok(name: str, detail: str) -> Finding:
    """A finding that needs nothing."""
    return Finding(name=name, level=Level.OK, detail=detail)


def warning(name: str, detail: str, advice: str) -> Finding:
    """A finding to know of."""
    return Finding(name=name, level=Level.WARNING, detail=detail, advice=advice)


def problem(name: str, detail: str, advice: str) -> Finding:
    """A finding to mend."""
    return Finding(name=name, level=Level.PROBLEM, detail=detail, advice=advice)
