"""The JSON Schema of the metering event, for those who read the outbox, the topic or an archive of either.

`docs/schemas/metering-event.v1.json` is this; a field that is added keeps the version, one that changes its meaning or
goes away makes a new one.
"""

from stoa.domain.metering.event import MeteringEvent
from stoa.domain.schema.json_value import JsonObject

SCHEMA_ID = "https://gostoa.dev/schemas/metering-event.v1.json"


def metering_event_schema() -> JsonObject:
    """A new dictionary each time."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **MeteringEvent.model_json_schema(mode="serialization"),
    }
