"""What the packaged rules find in a text, and that cognee can use it."""

import json

import pytest

from session_memory.local_models import embeddings, provider, rules

TEXT = "Mara Lindt leads the battery team at Voltaris in Graz. Voltaris builds sodium batteries."


def test_entities_are_named_and_typed():
    found = {entity.name: entity.kind for entity in rules.entities(rules.parse(TEXT))}
    assert found["Mara Lindt"] == "Person"
    assert "sodium batteries" in found


def test_triples_say_who_does_what_in_the_sentences_own_words():
    found = {(one.subject, one.relation, one.object) for one in rules.triples(rules.parse(TEXT))}
    assert ("Mara Lindt", "lead", "battery team") in found
    assert ("Voltaris", "build", "sodium batteries") in found


def test_the_frame_of_a_session_document_is_no_entity():
    doc = rules.parse(
        "Session ID: demo_session\n\nTime: 2026-01-01\n\nQuestion: Who leads?\n\nAnswer: Mara Lindt leads."
    )
    assert {entity.name for entity in rules.entities(doc)} == {"Mara Lindt"}


def test_an_answer_is_the_sentences_that_fit_the_question():
    assert rules.answer("What does Voltaris build?", [TEXT]).startswith("Voltaris builds sodium batteries.")
    assert rules.answer("Who sings?", [TEXT]) == "Nothing in the graph answers that."


def test_every_edge_of_a_graph_connects_nodes_that_are_there():
    graph = json.loads(provider._respond(TEXT, {"title": "KnowledgeGraph"}))
    names = {node["id"] for node in graph["nodes"]}
    assert graph["edges"]
    assert all({edge["source_node_id"], edge["target_node_id"]} <= names for edge in graph["edges"])


@pytest.mark.parametrize("text", ["", " \n ", "🦊🦊", "x" * 5000, "Question:\n\nAnswer:\n\n"])
def test_odd_texts_give_an_empty_graph_and_no_error(text):
    assert "nodes" in json.loads(provider._respond(text, {"title": "KnowledgeGraph"}))


def test_a_schema_the_rules_do_not_know_is_filled_with_nothing():
    schema = {
        "title": "Other",
        "required": ["a", "b"],
        "properties": {"a": {"type": "string"}, "b": {"type": "array"}},
    }
    assert json.loads(provider._respond(TEXT, schema)) == {"a": "", "b": []}


def test_the_packaged_embedding_model_puts_a_paraphrase_nearest(tmp_path):
    from fastembed import TextEmbedding

    home = embeddings.lay_out(tmp_path)
    model = TextEmbedding(embeddings.MODEL, cache_dir=str(home / "hub"), local_files_only=True)
    question, near, far = model.embed(["Who runs the company?", "She is its chief executive.", "It rains in Graz."])
    assert len(question) == embeddings.DIMENSIONS
    assert question @ near > question @ far


def test_laying_the_model_out_twice_changes_nothing(tmp_path):
    embeddings.lay_out(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    embeddings.lay_out(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
