"""What an operator can set, from the environment (``SESSION_MEMORY_…``) or ``.env``."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_FILE = ".env"
_PROJECT = Path(__file__).parents[1]


class Settings(BaseSettings):
    """Every key, with its default; `.env.example` lists them for copying."""

    model_config = SettingsConfigDict(env_prefix="SESSION_MEMORY_", extra="ignore", frozen=True)

    #: Where everything embedded lives (databases, documents, locks) when cognee's own
    #: `SYSTEM_ROOT_DIRECTORY` and `DATA_ROOT_DIRECTORY` are not set.
    state_dir: Path = Path("~/.session-memory")

    #: `auto`: use the models of the extra `local` when no LLM is configured. `off`: never.
    local_models: Literal["auto", "off"] = "auto"

    #: Create a dataset that does not exist instead of refusing its name.
    create_dataset: bool = False

    #: Where pending sessions go that cognee recorded no dataset for, and the ledger neither.
    default_dataset: str = Field(default="main_dataset", min_length=1)

    #: Accounts under whose permission sessions are written whose owner has none: e-mails or UUIDs, commas between,
    #: one of each tenant.
    service_accounts: Annotated[tuple[str, ...], NoDecode] = ()

    #: What each turn passes through before it is kept, `package.module:function`; empty: nothing does. The built-in
    #: one, of the extra `redact`, is `session_memory.redaction:mask`.
    redact: str = Field(default="", pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$")

    #: Hours before unpersisted turns expire from which on a run over what is pending raises an alert.
    alert_hours: float = Field(default=24.0, ge=0)

    #: A Prefect notification block, `type/name` (e.g. `slack-webhook/ops`), that is told of alerts too.
    alert_block: str = Field(default="", pattern=r"^([^/\s]+/[^/\s]+)?$")

    #: Datasets whose gauges are their own; the gauges of all others are summed up in one.
    metric_datasets: int = Field(default=100, ge=0)

    #: A window (one document of the graph) holds at most so many turns of one session…
    turns_per_window: PositiveInt = 20

    #: …and so many characters, except that a longer turn is a window of its own.
    characters_per_window: PositiveInt = 12_000

    #: Windows committed together under one hold of the dataset lock, in one run of cognee's pipeline.
    windows_per_group: int = Field(default=40, ge=1, le=100)

    #: Seconds to wait for another writer of the same dataset, or for another process that has its embedded graph
    #: open, before giving up.
    lock_wait_seconds: float = Field(default=600.0, ge=0)

    #: Seconds for which cognee goes on repeating one failing LLM call (its own floor is 240).
    llm_retry_seconds: float = Field(default=240.0, ge=0)

    #: Seconds a group's commit may take beyond the LLM's own retries, for each 20 of its windows; then it is ended and
    #: rolled back.
    commit_grace_seconds: float = Field(default=360.0, gt=0)

    #: Times a failing window is retried within a run, for errors worth retrying.
    task_retries: int = Field(default=3, ge=0)

    #: Seconds before the first of those retries; each later one waits twice as long.
    retry_delay_seconds: float = Field(default=2.0, gt=0)

    #: LLM calls this process has in flight at most, over all datasets.
    llm_calls_in_flight: PositiveInt = 20

    #: LLM calls, and tokens in and out, this process may use in any minute; 0: no limit.
    llm_requests_per_minute: int = Field(default=0, ge=0)
    llm_tokens_per_minute: int = Field(default=0, ge=0)

    #: Documents a run of `persist-sessions` may commit, and tokens after which it begins no more; 0: no limit.
    #: What is left stays pending, frozen in the ledger.
    windows_per_run: int = Field(default=0, ge=0)
    tokens_per_run: int = Field(default=0, ge=0)

    #: Runs that try a quarantined window again on their own; after that only `session-memory retry` does.
    quarantine_attempts: PositiveInt = 3

    #: Pictures of runs that are kept on this machine, the newest; 0: none are drawn.
    pictures: int = Field(default=50, ge=0)

    #: Days after which the ledger forgets the text of a window that is in the graph.
    text_retention_days: float = Field(default=7.0, ge=0)

    @field_validator("service_accounts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value

    def making_no_dataset(self) -> "Settings":
        """The same, for who looks or removes: `create_dataset` is for who writes."""
        return self.model_copy(update={"create_dataset": False})

    @property
    def commit_timeout_seconds(self) -> float:
        """Seconds a group's commit may take: above the LLM's own budget for a document's calls."""
        return 2 * self.llm_retry_seconds + self.commit_grace_seconds * -(-self.windows_per_group // 20)

    @property
    def cognify_timeout_seconds(self) -> float:
        """Seconds a try of `cognify_session` may take: above its commit's, whose rollback it awaits."""
        return self.commit_timeout_seconds + 60

    @property
    def state_path(self) -> Path:
        """`state_dir`, absolute."""
        return self.state_dir.expanduser().absolute()


def load_env_file() -> None:
    """Put `.env` of the working directory, or else of the project, into the environment, under what is already set.

    The environment wins, as for Prefect. cognee by itself would let the file win, and search parent folders.
    A worker runs flows in a temporary directory, which is why the project's own counts.
    """
    file = next((path for path in (Path(ENV_FILE), _PROJECT / ENV_FILE) if path.is_file()), None)
    for key, value in dotenv_values(file).items() if file else ():
        if value is not None:
            os.environ.setdefault(key, value)


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        pydantic.ValidationError: a value has the wrong type or is out of bounds; it names the key.
    """
    load_env_file()
    return Settings()
