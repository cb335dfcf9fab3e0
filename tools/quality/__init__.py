"""Long checks of a whole gateway: fuzzing and soaking. Run by `make fuzz` and `make soak`, not by the test suite."""
