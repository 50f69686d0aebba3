"""What a page says of a picture: what the run added, and what of it is not shown."""

from collections.abc import Iterator, Mapping

from session_memory.picture.additions import Additions


def summary(additions: Additions) -> str:
    """What the run added, in a sentence."""
    entities = additions.entities.values()
    added = sum(entity.added for entity in entities)
    types, relations = sum(additions.types.values()), sum(additions.relations.values())
    told = [
        f"{_count(_turns(additions), 'turn')} of {_count(_sessions(additions), 'session')} added "
        f"{_count(added, 'entity', 'entities')}"
    ]
    told += [_count(types, "type of entity", "types of entities")] * (types > 0)
    told += [_count(relations, "relation")] * (relations > 0)
    met = len(entities) - added
    told += [f"named {_count(met, 'entity', 'entities')} that {'was' if met == 1 else 'were'} there before"] * (met > 0)
    return f"{', '.join(told[:-1])} and {told[-1]}." if told[1:] else f"{told[0]}."


def left_out(additions: Additions, shown: Mapping[str, int], turns_stored: int) -> Iterator[str]:
    """What the page does not show, in a sentence each.

    Args:
        shown: how many of each kind it does.
        turns_stored: turns the run stored in all.
    """
    whole = {
        "session": _sessions(additions),
        "document": len(additions.documents),
        "turn": _turns(additions),
        "entity": len(additions.entities),
    }
    nodes = sum(shown[kind] for kind in whole)
    if nodes < sum(whole.values()):
        yield (
            f"Showing {nodes:,} of {sum(whole.values()):,} nodes: {_part(shown, whole, 'session', 'sessions')}, "
            f"{_part(shown, whole, 'document', 'documents')}, {_part(shown, whole, 'turn', 'turns')} and "
            f"{_part(shown, whole, 'entity', 'entities')}, the most connected first; "
            f"{shown['relation']:,} of {_count(len(additions.relations), 'relation')}."
        )
    unread = sum(additions.unread.values())
    if additions.unread:
        yield (
            f"{_count(len(additions.unread), 'more document')} of this run, with {_count(unread, 'turn')}, "
            "were not looked at, and are not counted here."
        )
    if (elsewhere := turns_stored - _turns(additions) - unread) > 0:
        yield (
            f"{_count(elsewhere, 'more turn')} of its report: stored before the run was interrupted and taken up "
            "again, or by another run; not here."
        )
    if additions.failure:
        yield "Some of what it stored could not be read back, and is not here."
    if additions.texts:
        yield f"{_count(additions.texts, 'chunk and summary', 'chunks and summaries')}, which hold the text: not drawn."


def _part(shown: Mapping[str, int], whole: Mapping[str, int], kind: str, many: str) -> str:
    if shown[kind] == whole[kind]:
        return f"all {many}"
    return f"{shown[kind]:,} of {whole[kind]:,} {many}"


def _turns(additions: Additions) -> int:
    return sum(len(document.turns) for document in additions.documents.values())


def _sessions(additions: Additions) -> int:
    return len({document.session_id for document in additions.documents.values()})


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
