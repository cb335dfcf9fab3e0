"""Back ends inside the process: Python functions and static content. Also the parts that calls of other back ends need:
access tokens, resource access, `Context`."""
