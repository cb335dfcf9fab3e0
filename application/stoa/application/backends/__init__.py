"""Back ends inside the process: Python functions and static content. Also what calls of other back ends need: access
tokens, resource access, `Context`."""
