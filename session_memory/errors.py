"""Every error a user can meet. The docstring is the message, and it says what to do next."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from session_memory.pending_report import PendingReport
    from session_memory.report import PersistReport


class SessionMemoryError(Exception):
    """Session Memory could not do what was asked."""

    #: A stable word for reports, the ledger and machines.
    code = "error"
    #: Worth another try within the same run, with nothing changed.
    transient = False

    def __init__(self, message: str | None = None, /, **details: object) -> None:
        """From `details`: ids and counts only, for this reaches logs, states and reports. Prefect's JSON makes it
        anew from its `message` alone."""
        self.details = details
        super().__init__(message or " ".join((self.__doc__ or "").format(**details).split()))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), str(self), self.details))


def _rebuild(kind: type[SessionMemoryError], message: str, details: dict[str, object]) -> SessionMemoryError:
    return kind(message, **details)


class SessionsNotPersisted(SessionMemoryError):
    """{summary}"""

    code = "sessions_not_persisted"

    def __init__(self, summary: str, report: "PersistReport | PendingReport | None" = None) -> None:
        super().__init__(summary=summary)
        #: What was done and what was not, session by session.
        self.report = report

    def __reduce__(self) -> tuple[object, ...]:
        return (SessionsNotPersisted, (str(self), self.report))


class Unexpected(SessionMemoryError):
    """It stopped on an error that it has no words for ({kind} at {place}); the error's own are left out, because they
    may quote a conversation or a key. Nothing was lost: run again, and report it if it comes back."""

    code = "unexpected"


# What was asked for


class UserNotFound(SessionMemoryError):
    """There is no cognee user {user}. {near} Pass an e-mail, a UUID, or nothing for cognee's default user."""

    code = "user_not_found"


class DatasetNotFound(SessionMemoryError):
    """The user has no dataset {dataset}. {near} Create it with `cognee.add(…, dataset_name=…)`, or set
    SESSION_MEMORY_CREATE_DATASET=true to have it created. A dataset shared by somebody else goes by its UUID."""

    code = "dataset_not_found"


class NoWritePermission(SessionMemoryError):
    """User {user} may not write to dataset {dataset}. Nothing was read and nothing was written. Ask the
    dataset's owner for the permission `write`, or name another dataset."""

    code = "no_write_permission"


class NoDeletePermission(SessionMemoryError):
    """User {user} may not delete from dataset {dataset}. Nothing was removed. Ask the dataset's owner for the
    permission `delete`."""

    code = "no_delete_permission"


class SessionNotFound(SessionMemoryError):
    """Neither the cache nor the ledger knows a session {session_id} of {user} for dataset {dataset}. Nothing was
    removed. `session-memory status --user {user}` lists their sessions."""

    code = "session_not_found"


class TurnNotFound(SessionMemoryError):
    """Session {session_id} has no turn {turn} in dataset {dataset}: turns go by the `qa_id` that cognee gave them.
    Nothing was removed."""

    code = "turn_not_found"


class TurnStoredByCognee(SessionMemoryError):
    """Turn {turn} stands in a document that cognee's own path wrote, together with other turns, and cannot be taken
    out of it alone. Nothing was removed. Forget the whole session, or that document with `cognee.forget`."""

    code = "turn_stored_by_cognee"


class NeighboursLost(SessionMemoryError):
    """Turn {turn} stands in a document with other turns, whose text can be read neither there nor anywhere else, so
    they would be lost with it. Nothing was removed. See `session-memory verify {session_id}`; or forget the session."""

    code = "neighbours_lost"


class OtherTenant(SessionMemoryError):
    """Dataset {dataset} belongs to a tenant that user {user} is no member of, so nothing they said goes there. Nothing
    was read and nothing was written. Name one of their own datasets, or add them to the tenant."""

    code = "other_tenant"


class NeedsDeployment(SessionMemoryError):
    """run_in_background=True hands the run to the deployment {deployment}, and Prefect's server at {url} has none.
    Run `prefect deploy --all` and `prefect worker start --pool session-memory` against that server, or
    `session-memory serve`; or run in the foreground."""

    code = "needs_deployment"


class ReportElsewhere(SessionMemoryError):
    """The worker's run {run} ended, and its report is on another machine: give all of them one result storage, with
    PREFECT_DEFAULT_RESULT_STORAGE_BLOCK. What it persisted is persisted; what it did not is still pending."""

    code = "report_elsewhere"


class AlertBlockNotFound(SessionMemoryError):
    """Prefect's server has no block {block} (SESSION_MEMORY_ALERT_BLOCK, as `type/name`). Make it on the page Blocks
    or with `prefect block create`, or unset the variable: alerts are an event and a log line then."""

    code = "alert_block_not_found"


class ServerPortTaken(SessionMemoryError):
    """Port {port} is taken, so Prefect's server cannot listen there. Name another one (`--port`), or set
    PREFECT_API_URL to the server that listens there to use it."""

    code = "server_port_taken"


class PrefectUnreachable(SessionMemoryError):
    """Prefect's server at {url} did not answer. Start it (`prefect server start`), or unset PREFECT_API_URL to
    use one that is started for this run."""

    code = "prefect_unreachable"


class WindowNotFound(SessionMemoryError):
    """Nothing of session {session_id} is quarantined for this user and dataset, so there is nothing to try
    again. `session-memory persist {session_id}` persists what is new in it."""

    code = "window_not_found"


# The session cache


class CachingDisabled(SessionMemoryError):
    """cognee's session cache is switched off (CACHING=false), so there are no sessions to persist. Unset
    CACHING, or set it to true, here and in the application that answers questions."""

    code = "caching_disabled"


class CacheUnreachable(SessionMemoryError):
    """cognee's session cache ({backend}) did not answer ({kind}). Check that it runs and that CACHE_BACKEND,
    CACHE_HOST, CACHE_PORT or CACHE_DB_URL name it; the next run takes up where this one stopped."""

    code = "cache_unreachable"
    transient = True


class CacheNotListed(SessionMemoryError):
    """cognee's session cache {backend} cannot be asked which sessions it holds, so what is pending in it cannot be
    found. Name the sessions (`session-memory persist`), or use CACHE_BACKEND sqlite, postgres, redis or fs."""

    code = "cache_not_listed"


class SessionUnreadable(SessionMemoryError):
    """Session {session_id} could not be read from the cache ({kind}): a row of it is not what cognee writes.
    The other sessions are not affected."""

    code = "session_unreadable"


# Redaction


class RedactionNotFound(SessionMemoryError):
    """SESSION_MEMORY_REDACT names {hook}, and there is no such function ({kind}). Nothing was read and nothing was
    written. Name one as `package.module:function`, of a package that is installed where the flows run; the built-in
    one is `session_memory.redaction:mask`."""

    code = "redaction_not_found"


class RedactionExtraMissing(SessionMemoryError):
    """SESSION_MEMORY_REDACT names the built-in redaction, and what it needs is not installed. Nothing was read and
    nothing was written. Install it: pip install 'session-memory[redact]'."""

    code = "redaction_extra_missing"


class RedactionFailed(SessionMemoryError):
    """The redaction {hook} failed ({kind}), so nothing of the session was kept or written. It is still pending in the
    cache: mend the function that SESSION_MEMORY_REDACT names and run again. The other sessions are not affected."""

    code = "redaction_failed"


# Writing


class DatasetBusy(SessionMemoryError):
    """Another writer holds {held} and did not let go within {seconds} s: {holder}. Run again when
    it has finished, or raise SESSION_MEMORY_LOCK_WAIT_SECONDS."""

    code = "dataset_busy"
    transient = True


class LockLost(SessionMemoryError):
    """The lock on {held} was lost with its connection to Postgres, so writing was stopped. Nothing is lost:
    run again when the database answers."""

    code = "lock_lost"
    transient = True


class GraphHeld(SessionMemoryError):
    """The embedded graph of dataset {dataset} is held open by {holder}, which did not let go within {seconds} s.
    An application that uses cognee keeps it open for a while after each use: set SUBPROCESS_IDLE_TTL_SECONDS=0
    there, or use a graph server; or wait longer, with SESSION_MEMORY_LOCK_WAIT_SECONDS. Then run again."""

    code = "graph_held"
    transient = True


class LedgerSchemaUnknown(SessionMemoryError):
    """The ledger has schema version {found} and this program knows version {known}. Run the release that
    wrote it, or a newer one; nothing was read and nothing was written."""

    code = "ledger_schema_unknown"


class LedgerUnreadable(SessionMemoryError):
    """A row of the ledger is not what Session Memory writes ({kind}), so nothing of its session was written.
    `session-memory rebuild` drops what cannot be read and takes it from the dataset's documents and the cache."""

    code = "ledger_unreadable"


class ExtractionConflict(SessionMemoryError):
    """Other runs kept changing the plan of session {session_id} while this one made its own. Nothing was
    lost; run again."""

    code = "extraction_conflict"
    transient = True


class DatasetGone(SessionMemoryError):
    """Dataset {dataset} was deleted while sessions were being written to it. Nothing more was written. Create
    it again and run again: everything is pending then."""

    code = "dataset_gone"


# The LLM


class LLMRefusedKey(SessionMemoryError):
    """The LLM provider refused the key. Nothing was lost: set LLM_API_KEY to one that works and run again;
    it takes up where this run stopped."""

    code = "llm_key_refused"


class LLMQuotaSpent(SessionMemoryError):
    """The LLM provider's quota or budget is spent. Nothing was lost: raise it or wait, and run again; it takes
    up where this run stopped."""

    code = "llm_quota_spent"


class BudgetSpent(SessionMemoryError):
    """The run's budget of {limit} {unit} is spent: what is left is frozen in the ledger, and the next run takes it up.
    SESSION_MEMORY_WINDOWS_PER_RUN and SESSION_MEMORY_TOKENS_PER_RUN set it."""

    code = "budget_spent"


class LLMRejectsEverything(SessionMemoryError):
    """The LLM provider rejected every request, or gave no answer that could be read, so it is the settings and not
    the text: check LLM_MODEL, LLM_PROVIDER and LLM_ENDPOINT. Nothing was lost; run again then."""

    code = "llm_rejects_everything"


class LLMUnavailable(SessionMemoryError):
    """The LLM or the embedding model failed ({kind}) and went on failing. What was not stored is pending; the
    next run takes it up."""

    # cognee has repeated the call for SESSION_MEMORY_LLM_RETRY_SECONDS; retries of ours would multiply that.
    code = "llm_unavailable"


class DocumentRefused(SessionMemoryError):
    """The LLM refused the text ({kind}). It is quarantined, the rest is not affected; after changing the
    model or its policy, try it again with `session-memory retry`."""

    code = "document_refused"


class AnswerUnreadable(DocumentRefused):
    """The LLM's answers about the text were not the JSON that was asked for ({kind}), the corrected ones neither.
    It is quarantined, the rest is not affected; with a model that follows a schema, or a higher limit on its
    answers, try it again with `session-memory retry`."""

    code = "answer_unreadable"


class StoreUnavailable(SessionMemoryError):
    """cognee's relational database, which holds the ledger too, did not do what was asked ({kind}). Check that it
    runs, that DB_* name it and that its disk has room; the next run takes up where this one stopped."""

    code = "store_unavailable"
    transient = True


class DiskFull(SessionMemoryError):
    """There is no room left where cognee keeps its documents and databases (DATA_ROOT_DIRECTORY,
    SYSTEM_ROOT_DIRECTORY). Nothing was lost: make room and run again; it takes up where this run stopped."""

    code = "disk_full"


class WriteTookTooLong(SessionMemoryError):
    """Writing took over {seconds} s and was ended; what was finished by then stays, the rest is pending and the next
    run takes it up. If the LLM is only slow, raise SESSION_MEMORY_COMMIT_GRACE_SECONDS."""

    # A hang that was waited for once is not waited for again in the same run.
    code = "write_took_too_long"


class WriteFailed(SessionMemoryError):
    """The graph did not take the document ({kind}). It is pending; the next run takes it up."""

    code = "write_failed"
    transient = True


class LocalModelsMissing(SessionMemoryError):
    """No LLM is configured and the local models are not installed. Set LLM_API_KEY, or install them:
    pip install 'session-memory[local]'."""

    code = "local_models_missing"
