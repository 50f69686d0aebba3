"""The rules as a litellm provider, so that cognee calls them as it calls any LLM: `local/rules`."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import litellm
from litellm import CustomLLM, ModelResponse

from session_memory.local_models import rules
from session_memory.runtime import LOCAL_MODEL

PROVIDER = "local"
MODEL = LOCAL_MODEL

# cognee's completion prompt (`graph_context_for_question.txt`): a question and a context, each in backticks.
_PROMPT = re.compile(r"The question is:\s*`(?P<question>.*?)`\s.*?:\s*`(?P<context>.*)`\s*$", re.DOTALL)

# In that context, what a node holds (`modules/graph/utils/resolve_edges_to_text.py`).
_NODE = re.compile(r"__node_content_start__\n(.*?)\n__node_content_end__", re.DOTALL)

Schema = dict[str, Any]


class LocalRules(CustomLLM):
    """Answers cognee's prompts with what spaCy's rules find in the text."""

    async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
        text = kwargs["messages"][-1]["content"]
        schema = _schema(kwargs["optional_params"])
        # Parsing holds the CPU for tens of milliseconds a page; other sessions' I/O goes on meanwhile.
        content = await asyncio.to_thread(_respond, text, schema)
        response: ModelResponse = kwargs["model_response"]
        response.choices[0].message.content = content
        response.model = MODEL
        response.usage = litellm.Usage(
            prompt_tokens=len(text) // 4,
            completion_tokens=len(content) // 4,
            total_tokens=(len(text) + len(content)) // 4,
        )
        return response


def register() -> None:
    """Make litellm route `local/rules` to the rules; calling it again changes nothing."""
    if any(entry["provider"] == PROVIDER for entry in litellm.custom_provider_map):
        return
    litellm.custom_provider_map.append({"provider": PROVIDER, "custom_handler": LocalRules()})
    litellm.register_model(
        {
            MODEL: {
                "litellm_provider": PROVIDER,
                "mode": "chat",
                "max_tokens": 16_384,
                "max_input_tokens": 16_384,
                "max_output_tokens": 16_384,
                "supports_response_schema": True,
            }
        }
    )


def _schema(optional_params: dict[str, Any]) -> Schema | None:
    """The JSON schema the caller wants filled; None when it wants prose."""
    wanted = optional_params.get("response_format")
    if not isinstance(wanted, dict) or "json_schema" not in wanted:
        return None
    schema: Schema = wanted["json_schema"]["schema"]
    return schema


def _respond(text: str, schema: Schema | None) -> str:
    if schema is None:
        prompt = _PROMPT.search(text)
        if prompt is None:
            return rules.summary(text)
        return rules.answer(prompt["question"], _NODE.findall(prompt["context"]) or [prompt["context"]])
    fill = _FILLED.get(schema.get("title", ""), _neutral)
    return json.dumps(fill(text, schema), ensure_ascii=False)


def _knowledge_graph(text: str, schema: Schema) -> dict[str, Any]:
    doc = rules.parse(text)
    relations = rules.triples(doc)
    entities = {entity.name: entity for entity in rules.entities(doc)}
    for relation in relations:
        for name in (relation.subject, relation.object):
            entities.setdefault(name, rules.Entity(name=name, kind="Concept", sentence=relation.sentence))
    return {
        "nodes": [
            {"id": entity.name, "name": entity.name, "type": entity.kind, "description": entity.sentence}
            for entity in entities.values()
        ],
        "edges": [
            {
                "source_node_id": relation.subject,
                "target_node_id": relation.object,
                "relationship_name": relation.relation.replace(" ", "_"),
                "description": relation.sentence,
            }
            for relation in relations
        ],
    }


def _summary(text: str, schema: Schema) -> dict[str, Any]:
    return {"summary": rules.summary(text), "description": ""}


def _turn_analysis(text: str, schema: Schema) -> dict[str, Any]:
    # Rules cannot tell feedback from a question; null makes cognee answer the message as it stands.
    return {"query_to_answer": None, "response_to_user": None}


def _neutral(text: str, schema: Schema) -> dict[str, Any]:
    """The emptiest object a schema allows: required strings and lists are empty, numbers are 0."""
    empty: dict[str, Any] = {
        "string": "",
        "array": [],
        "object": {},
        "number": 0,
        "integer": 0,
        "boolean": False,
    }
    properties: dict[str, Schema] = schema.get("properties", {})
    return {name: empty.get(properties[name].get("type", "")) for name in schema.get("required", [])}


_FILLED: dict[str, Callable[[str, Schema], dict[str, Any]]] = {
    "KnowledgeGraph": _knowledge_graph,
    "SummarizedContent": _summary,
    "SessionTurnAnalysis": _turn_analysis,
}
