"""What `session-memory forget` removed, for people and for machines."""

from pydantic import BaseModel, ConfigDict

from session_memory.report import plural


class ForgetReport(BaseModel):
    """What was removed of a session, or of one turn of it."""

    model_config = ConfigDict(frozen=True)

    user: str
    dataset: str
    session_id: str
    #: The one turn that was to be forgotten; None: the whole session.
    turn: str | None = None
    #: Turns of which nothing but the id and a hash is left, in the ledger, so that they are not written again.
    turns_forgotten: int = 0
    #: Documents taken out of the dataset, with their chunks, vectors, summaries and what they alone had stated.
    documents_removed: int = 0
    #: Other turns of those documents, written anew without the forgotten one.
    turns_rewritten: int = 0
    #: Whether they are in the dataset already; else they are in the ledger, and the next run writes them.
    rewritten: bool = True
    #: Whether the cache was to forget it too.
    cache: bool = False
    #: Other datasets that hold the session.
    elsewhere: tuple[str, ...] = ()
    #: Database files that another process was using: bytes of deleted rows may stand in them until it is done again.
    files_in_use: tuple[str, ...] = ()

    def asstr(self) -> str:
        """The report for a terminal."""
        lines = []
        if self.turns_rewritten:
            turns = f"{self.turns_rewritten} other {plural('turn', self.turns_rewritten)} of its document"
            lines.append(
                f"{turns} written anew"
                if self.rewritten
                else f"{turns} could not be written anew and are pending: the next run does it"
            )
        if not self.cache:
            lines.append("The cache still holds what it held; `--cache` forgets it there too.")
        lines += [f"Dataset {name} holds it too: `--dataset {name}` forgets it there." for name in self.elsewhere]
        lines += [f"{path} was in use: until it is done again, it may hold bytes of it." for path in self.files_in_use]
        return "\n".join(
            [
                *lines,
                f"{self.turns_forgotten} {plural('turn', self.turns_forgotten)} of {self.session_id} forgotten, "
                f"{self.documents_removed} {plural('document', self.documents_removed)} removed from {self.dataset}",
            ]
        )
