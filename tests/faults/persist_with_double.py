"""`persist_sessions` with the LLM double, for another process: run as a script, or as a flow's entrypoint.

Arguments as a script: the dataset, then the sessions.
"""

import asyncio
import sys

from session_memory import runtime
from session_memory.errors import SessionsNotPersisted
from session_memory.settings import get_settings

runtime.load(get_settings())

from flows.persist_sessions import persist_sessions  # noqa: E402 - after cognee's environment is set
from tests import double  # noqa: E402

double.install()


def main() -> None:
    try:
        asyncio.run(persist_sessions(session_ids=sys.argv[2:], dataset=sys.argv[1]))
    except SessionsNotPersisted as error:
        sys.exit(error.report.asstr() if error.report else str(error))


if __name__ == "__main__":
    main()
