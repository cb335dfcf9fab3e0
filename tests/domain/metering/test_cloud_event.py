"""The CloudEvents envelope: the attributes of 1.0, and the event in it as it was."""

import json
from datetime import datetime

from hypothesis import given
from tests.strategies import metering_events

from stoa.domain.metering.cloud_event import CONTENT_TYPE, cloud_event
from stoa.domain.metering.event import MeteringEvent


@given(event=metering_events())
def test_it_has_the_attributes_of_1_0_and_the_event_unchanged(event: MeteringEvent) -> None:
    line = event.model_dump_json().encode()
    envelope = json.loads(cloud_event(event, line, source="https://gateway.example"))
    assert MeteringEvent.from_json(json.dumps(envelope.pop("data"))) == event
    assert datetime.fromisoformat(envelope.pop("time")) == event.timestamp
    assert envelope == {
        "specversion": "1.0",
        "id": event.event_id,
        "source": "https://gateway.example",
        "type": "dev.gostoa.metering.invocation",
        "subject": event.tool,
        "datacontenttype": "application/json",
        "dataschema": "https://gostoa.dev/schemas/metering-event.v1.json",
    }


@given(event=metering_events())
def test_the_data_goes_in_byte_for_byte(event: MeteringEvent) -> None:
    line = event.model_dump_json().encode()
    assert cloud_event(event, line, source="/gateway").endswith(b',"data":' + line + b"}")


def test_the_content_type_is_that_of_the_structured_mode() -> None:
    assert CONTENT_TYPE == "application/cloudevents+json"
