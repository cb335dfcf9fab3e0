"""The messages of one method, as JSON and in wire format."""

from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.protobuf.message_types import MessagePool, Unencodable


class MessageCodec:
    """Requests from JSON, and responses to JSON, of one method. Raises InvalidInput for descriptors that do not
    build."""

    def __init__(self, descriptors: str, request_type: str, response_type: str) -> None:
        try:
            messages = MessagePool(descriptors)
            self._request, self._response = messages.message(request_type), messages.message(response_type)
        except InvalidInput as problem:
            raise InvalidInput(
                f"the descriptors of {request_type} and {response_type} do not fit together"
            ) from problem
        self.any_to_json = messages.any_to_json
        self.decode = self._response.decode
        """One response, as an object. Raises Undecodable."""

    def encode(self, value: JsonObject) -> bytes:
        """One request. Raises InvalidArguments for what the schema allows and the message does not."""
        try:
            return self._request.encode(value)
        except Unencodable as problem:
            raise InvalidArguments([Violation("", str(problem))]) from None
