"""The catalogue in use: loading it from sources and compiling operations; listing, completing and watching those that a
caller may see."""
