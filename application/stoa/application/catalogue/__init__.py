"""The catalogue in use: loading it from sources, compiling operations, listing, completing and watching what a caller
may see."""
