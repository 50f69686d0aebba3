"""What a run over what is pending would do and cost: `session-memory plan`. Writes nothing and asks no LLM."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import humanize
import litellm
from cognee.infrastructure.llm.config import get_llm_config
from cognee.infrastructure.llm.prompts import read_query_prompt
from cognee.infrastructure.llm.utils import get_max_chunk_tokens
from cognee.modules.chunking.TextChunker import TextChunker
from cognee.modules.data.processing.document_types import TextDocument
from cognee.shared.data_models import KnowledgeGraph
from pydantic import BaseModel, ConfigDict, Field, computed_field

from session_memory import planning, redaction
from session_memory.backlog import LeftSession
from session_memory.discovery import Seen, look
from session_memory.extraction import changes_of
from session_memory.foreign import ForeignDocuments
from session_memory.models import Frozen
from session_memory.redaction import Redact
from session_memory.report import NEVER, SHOWN, cut_note, plural, time_left
from session_memory.settings import Settings

#: Of a chunk cognee asks for its graph, and for its summary.
_CALLS_PER_CHUNK = 2
#: Tokens to ask a price for: few, because some models cost more beyond a length.
_SAMPLE = 1000


class SessionForecast(Frozen):
    """What a run would do of one session, for one dataset."""

    user: str
    dataset: str | None
    session_id: str
    #: Turns that would be written, those that are written anew beside an edited one included.
    turns: int = 0
    #: Documents they would be.
    windows: int = 0
    #: Pieces of them that cognee asks the LLM about, cut by its own chunker.
    chunks: int = 0
    #: Of the chunks, as the embedding model counts.
    tokens: int = 0
    #: When the first of the turns that stand in the cache alone goes; None: never, or they are in the ledger.
    expires_at: datetime | None = None
    #: Why it could not be looked at, and would be left.
    error: str | None = None


class Forecast(BaseModel):
    """What a run over all of them would do."""

    model_config = ConfigDict(frozen=True)

    sessions: tuple[SessionForecast, ...] = ()
    model: str
    #: Tokens of a chunk's prompts and schemas, beside its own.
    prompt_tokens: int
    #: US dollars for a token in, and out; None: litellm knows no price of the model.
    price: tuple[float, float] | None = None
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def llm_calls(self) -> int:
        """Calls, when none is repeated."""
        return _CALLS_PER_CHUNK * self._sum("chunks")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def tokens_in(self) -> int:
        """Tokens the LLM would be sent, estimated: the text once a call, and the prompts."""
        return _CALLS_PER_CHUNK * self._sum("tokens") + self.prompt_tokens * self._sum("chunks")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def tokens_out(self) -> int:
        """Tokens the LLM would answer with: a guess, as many as it is asked about."""
        return _CALLS_PER_CHUNK * self._sum("tokens")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cost(self) -> float | None:
        """US dollars, estimated; None where no price is known."""
        if self.price is None:
            return None
        return round(self.price[0] * self.tokens_in + self.price[1] * self.tokens_out, 4)

    def columns(self) -> Sequence[str]:
        """The heads of `rows`."""
        return ("session", "user", "dataset", "turns", "documents", "LLM calls", "expires in")

    def rows(self) -> list[Sequence[str]]:
        """A row a session, the soonest to expire first."""
        return [
            (
                one.session_id,
                one.user,
                one.dataset or "",
                str(one.turns or ""),
                str(one.windows or ""),
                str(_CALLS_PER_CHUNK * one.chunks or ""),
                one.error or time_left(one.expires_at, self.at),
            )
            for one in self._sorted()[:SHOWN]
        ]

    def asstr(self) -> str:
        """A line a session for a pipe, the sums last."""
        lines = []
        for one in self._sorted()[:SHOWN]:
            what = f"{one.turns} {plural('turn', one.turns)} in {one.windows} {plural('document', one.windows)}"
            expiry = time_left(one.expires_at, self.at)
            told = one.error or ", ".join([what, *([f"expires in {expiry}"] if expiry else [])])
            lines.append(f"{one.session_id} of {one.user} into {one.dataset or '?'}: {told}")
        return "\n".join([*lines, *self.summary()])

    def summary(self) -> list[str]:
        """The lines after the sessions: what was cut, the sums, the cost."""
        lines = cut_note(len(self.sessions))
        if not any(one.windows for one in self.sessions):
            return [*lines, "nothing pending"]
        turns, windows = self._sum("turns"), self._sum("windows")
        lines.append(
            f"{turns} {plural('turn', turns)} in {windows} {plural('document', windows)}: {self.llm_calls} LLM calls, "
            f"about {humanize.intcomma(self.tokens_in)} tokens in and {humanize.intcomma(self.tokens_out)} out"
        )
        lines.append(f"{self.model}: {self._told_cost()}. Nothing was written, no LLM was asked.")
        return lines

    def _told_cost(self) -> str:
        if self.cost is None:
            return "no price known"
        if self.cost == 0:
            return "free"
        return f"about {self.cost:.2f} US dollars" if self.cost >= 0.01 else "under 1 cent"

    def _sum(self, field: str) -> int:
        return sum(getattr(one, field) for one in self.sessions)

    def _sorted(self) -> list[SessionForecast]:
        return sorted(self.sessions, key=lambda one: (one.expires_at or NEVER, one.user, one.session_id))


async def forecast(
    users: list[str] | None, datasets: list[str] | None, session_ids: list[str] | None, settings: Settings
) -> Forecast:
    """Say what a run over pending sessions would do.

    Args:
        users: e-mails or UUIDs; None for everybody.
        datasets: names or UUIDs; None for all.
        session_ids: only these; None for all.

    Raises:
        UserNotFound, DatasetNotFound: a filter names what does not exist.
        CachingDisabled, CacheNotListed, CacheUnreachable: the cache cannot be asked.
    """
    settings = settings.making_no_dataset()
    found = [one async for one in _forecasts(users, datasets, session_ids, settings)]
    model = get_llm_config().llm_model
    return Forecast(sessions=tuple(found), model=model, prompt_tokens=_prompt_tokens(model), price=_price(model))


async def _forecasts(
    users: list[str] | None, datasets: list[str] | None, session_ids: list[str] | None, settings: Settings
) -> AsyncIterator[SessionForecast]:
    most = await get_max_chunk_tokens()
    redact = redaction.load(settings.redact)
    documents: dict[UUID, ForeignDocuments] = {}
    async for seen in look(users, datasets, settings, session_ids=session_ids, finished=False):
        if isinstance(seen, LeftSession):
            yield SessionForecast(
                user=seen.user,
                dataset=seen.dataset,
                session_id=seen.session_id,
                expires_at=seen.expires_at,
                error=seen.why,
            )
            continue
        of_dataset = documents.setdefault(seen.target.dataset_id, ForeignDocuments(seen.target))
        texts = await _texts(seen, of_dataset, redact, settings)
        if texts:
            chunks = [size for _, text in texts for size in await _chunks(text, most)]
            pending = planning.pending(seen.cached, seen.held, settings=settings)
            yield SessionForecast(
                user=seen.target.user_email,
                dataset=seen.target.dataset_name,
                session_id=seen.cached.session_id,
                turns=sum(turns for turns, _ in texts),
                windows=len(texts),
                chunks=len(chunks),
                tokens=sum(chunks),
                expires_at=seen.expires_at if pending and pending.only_cached else None,
            )


async def _texts(
    seen: Seen, documents: ForeignDocuments, redact: Redact | None, settings: Settings
) -> list[tuple[int, str]]:
    """The documents that would be written, each with its number of turns: frozen ones, and what would be frozen."""
    changes = await changes_of(seen.target, seen.cached, seen.held, documents, redact, settings)
    frozen = [
        seen.held.windows[window.data_id]
        for window in planning.session_plan(seen.cached, seen.held, settings=settings).windows
        if window.data_id not in changes.supersedes
    ]
    return [(len(window.turns), window.text or "") for window in frozen] + [
        (len(window.document.turns), window.document.text) for window in changes.windows
    ]


async def _chunks(text: str, most: int) -> list[int]:
    """The sizes in tokens of a document's chunks, cut as cognee cuts them."""

    async def whole() -> AsyncIterator[str]:
        yield text

    document = TextDocument(id=uuid4(), name="", raw_data_location="", external_metadata=None, mime_type="text/plain")
    chunker = TextChunker(document, get_text=whole, max_chunk_size=most)
    return [chunk.chunk_size async for chunk in chunker.read()]


def _prompt_tokens(model: str) -> int:
    """Of a chunk's two calls, without the chunk."""
    names = (get_llm_config().graph_prompt_path, "summarize_content.txt")
    prompts = [read_query_prompt(name) or "" for name in names]
    schema = json.dumps(KnowledgeGraph.model_json_schema())
    return sum(litellm.token_counter(model=model, text=text) for text in [*prompts, schema])


def _price(model: str) -> tuple[float, float] | None:
    try:
        prices = litellm.cost_per_token(model=model, prompt_tokens=_SAMPLE, completion_tokens=_SAMPLE)
    except Exception:  # noqa: BLE001 - litellm raises what it likes for a model that it has no price of
        return None
    return prices[0] / _SAMPLE, prices[1] / _SAMPLE
