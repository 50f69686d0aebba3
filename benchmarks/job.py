"""What is measured: how many sessions, how long, how slow an LLM, beside how many documents."""

from pydantic import BaseModel


class Job(BaseModel, frozen=True):
    """One scenario."""

    sessions: int = 40
    turns: int = 5
    #: Seconds an LLM call takes.
    latency: float = 0.2
    #: Documents that are in the dataset already.
    existing_documents: int = 0
    #: Owners of the sessions; each has a dataset of the same name.
    users: int = 1
    #: LLM calls in flight, for both sides.
    cap: int = 20
    #: Times the same is persisted in the process: the second has nothing new.
    rounds: int = 1
    dataset: str = "bench"

    @property
    def session_ids(self) -> list[str]:
        """The sessions to persist."""
        return [f"session-{number}" for number in range(self.sessions)]
