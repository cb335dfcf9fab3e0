"""The JSON Schema of the metering event, for readers of the outbox, the topic or an archive of either.

`docs/schemas/metering-event.v1.json` is this schema. A new field keeps the version; removing a field or changing its
meaning makes a new one.
"""

from stoa.domain.metering.event import MeteringEvent
from stoa.domain.schema.json_value import JsonObject

SCHEMA_ID = "https://gostoa.dev/schemas/metering-event.v1.json"


def metering_event_schema() -> JsonObject:
    """The schema, as a new dictionary each time."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **MeteringEvent.model_json_schema(mode="serialization"),
    }
