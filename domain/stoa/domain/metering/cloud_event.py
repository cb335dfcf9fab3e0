"""The CloudEvents 1.0 envelope of a metering event, in structured mode
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md)."""

import pydantic_core

from stoa.domain.metering.event import MeteringEvent

CONTENT_TYPE = "application/cloudevents+json"
TYPE = "dev.gostoa.metering.invocation"
DATA_SCHEMA = "https://gostoa.dev/schemas/metering-event.v1.json"


def cloud_event(event: MeteringEvent, data: bytes, *, source: str) -> bytes:
    """The envelope as one JSON object. `data` is the event's own JSON, embedded unchanged; `source` names the gateway,
    as a URI-reference that is not empty."""
    attributes = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": source,
        "type": TYPE,
        "subject": event.tool,
        "time": event.timestamp,
        "datacontenttype": "application/json",
        "dataschema": DATA_SCHEMA,
    }
    return pydantic_core.to_json(attributes)[:-1] + b',"data":' + data + b"}"
