"""What `session-memory verify` found, for people and for machines."""

from collections import Counter
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, computed_field

from session_memory.models import Frozen
from session_memory.report import SHOWN, cut_note, plural


class Problem(StrEnum):
    """What is wrong with a turn that the ledger and cognee's rows say is in the dataset."""

    #: The file of its document cannot be read.
    NO_DOCUMENT = "no_document"
    #: Its document does not say, where the turn is to stand, what was said.
    DIFFERENT = "different"
    #: No chunk of the graph holds it.
    NOT_IN_GRAPH = "not_in_graph"
    #: A search for the words of its chunk does not find the chunk.
    NOT_FOUND = "not_found"
    #: It stands in the dataset more than once.
    TWICE = "twice"


_WORDS = {
    Problem.NO_DOCUMENT: "its document cannot be read",
    Problem.DIFFERENT: "its document says something else",
    Problem.NOT_IN_GRAPH: "no chunk of the graph holds it",
    Problem.NOT_FOUND: "a search does not find it",
    Problem.TWICE: "it is in the dataset more than once",
}


class TurnProblem(Frozen):
    """A turn that is not as it should be."""

    session_id: str
    qa_id: str
    #: The document that is to hold it.
    data_id: UUID
    problem: Problem


class VerifyReport(BaseModel):
    """What was proved of a user's persisted turns in a dataset, and what was not."""

    model_config = ConfigDict(frozen=True)

    user: str
    dataset: str
    sessions: int
    #: Turns in the dataset, each looked for in its document, in the chunks of the graph, and by a search.
    turns: int
    documents: int
    #: Chunks searched for.
    chunks: int
    problems: tuple[TurnProblem, ...] = ()
    #: Turns that cognee's own path stored: the ledger knows of them, and their documents are not ours to prove.
    turns_foreign: int = 0
    turns_pending: int = 0
    #: Turns of documents that `--repair` took out and wrote again; None: it was not asked to.
    turns_repaired: int | None = None
    #: Turns that it took out and could not write again: they are frozen in the ledger, and pending.
    turns_to_write: int = 0
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """Turns by what is wrong with them."""
        return dict(Counter(one.problem.value for one in self.problems))

    @property
    def turns_sound(self) -> int:
        """Turns with nothing wrong."""
        return self.turns - len({(one.session_id, one.qa_id) for one in self.problems})

    def asstr(self) -> str:
        """The report for a terminal: a line a problem, the proof last."""
        lines = [
            f"{one.session_id}, turn {one.qa_id}: {_WORDS[one.problem]} (document {one.data_id})"
            for one in self.problems[:SHOWN]
        ]
        lines += cut_note(len(self.problems))
        if self.turns_repaired:
            lines.append(f"{self.turns_repaired} {plural('turn', self.turns_repaired)} written again")
        if self.turns_to_write:
            waiting = f"{self.turns_to_write} {plural('turn', self.turns_to_write)}"
            lines.append(
                f"{waiting} could not be written again and wait in the ledger: `session-memory persist --pending`"
            )
        if self.problems:
            lines.append(
                "To write them again: the same command with `--repair`."
                if self.turns_repaired is None
                else "What is left cannot be repaired: its text is in no document, ledger, chunk or cache any more."
            )
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """One line of counts."""
        if not self.turns:
            return f"nothing persisted yet in {self.dataset}"
        proved = (
            f"all {self.turns} turns" if self.turns_sound == self.turns else f"{self.turns_sound} of {self.turns} turns"
        )
        others = [f"{self.turns_pending} pending"] if self.turns_pending else []
        others += [f"{self.turns_foreign} stored by cognee itself, not looked at"] if self.turns_foreign else []
        return (
            f"{proved} of {self.sessions} {plural('session', self.sessions)} proved to be in {self.dataset} once and "
            f"found by a search: {self.documents} {plural('document', self.documents)}, "
            f"{self.chunks} {plural('chunk', self.chunks)}, {self.seconds:.1f} s"
            + "".join(f"; {other}" for other in others)
        )
