"""What Prefect's form and API show of the flow's parameters."""

from prefect.utilities.callables import parameter_schema

from flows.persist_pending_sessions import persist_pending_sessions
from flows.persist_sessions import persist_sessions


def test_every_parameter_is_described_typed_and_constrained():
    schema = parameter_schema(persist_sessions.fn).model_dump()
    properties = schema["properties"]
    assert list(properties) == ["user", "session_ids", "dataset", "run_in_background"]
    assert all(len(one["description"].split()) > 5 for one in properties.values())
    assert properties["dataset"]["default"] == "main_dataset"
    assert properties["dataset"]["minLength"] == 1
    listed = next(one for one in properties["session_ids"]["anyOf"] if one.get("type") == "array")
    assert (listed["minItems"], listed["items"]["minLength"]) == (1, 1)


def test_everything_of_the_other_flow_is_optional_described_and_bounded():
    schema = parameter_schema(persist_pending_sessions.fn).model_dump()
    assert schema["required"] == []
    properties = schema["properties"]
    assert all(len(one["description"].split()) > 5 for one in properties.values())
    assert all("default" in one for one in properties.values())
    assert (properties["datasets_at_a_time"]["minimum"], properties["datasets_at_a_time"]["maximum"]) == (1, 32)
    assert {one.get("minimum") for one in properties["max_sessions"]["anyOf"]} == {1, None}


def test_the_flows_have_the_names_deployments_are_called_by():
    assert (persist_sessions.name, persist_pending_sessions.name) == ("persist-sessions", "persist-pending-sessions")
