"""One Rego policy, compiled by `opa build -t wasm`, as a function from input to result.

A decision is one guest call (`opa_eval`, ABI 1.2): the input's JSON is written behind the data, the result is read from
the address that the guest returns, and the next decision starts at the same place, so nothing is ever freed. The guest
has bounded memory, and a deadline: while it runs, a thread counts ticks (wasmtime's epochs), and too many of them end
the call. Ticks count the CPU time of this process: on a busy machine a decision is late, not refused.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import pydantic_core
import wasmtime

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_object

TICK_SECONDS = 0.01
DEADLINE_TICKS = 6
"""Deadline of a decision: 50 to 60 ms of CPU time."""
MAX_PAGES = 512
"""Upper bound on the guest's memory, 32 MiB: data, input and all intermediate values."""
MAX_INPUT_BYTES = 4 * 1024 * 1024
CONFIGURATION = "epochs"
"""Name of the configuration of `Compiler`; machine code of another configuration cannot be loaded."""
_PAGE = 65536
_IDLE_TICKS = 100
_ENDLESS = 1 << 40


class PolicyEvaluationFailed(Exception):
    """The guest did not answer: it trapped, aborted, or took too long."""


class Compiler:
    """Compiles policies; the machine code of one compiler runs on another of the same version."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        self.ticker = _Ticker(self.engine)

    def compile(self, wasm: bytes) -> wasmtime.Module:
        """Compiles WebAssembly, in a few hundred milliseconds. Raises InvalidInput."""
        try:
            return wasmtime.Module(self.engine, wasm)
        except wasmtime.WasmtimeError as caught:
            raise InvalidInput("policy.wasm is not a WebAssembly module") from caught

    def load(self, machine_code: bytes) -> wasmtime.Module:
        """Loads the output of `Module.serialize`, which must be our own, because it runs unchecked. Raises
        InvalidInput."""
        try:
            return wasmtime.Module.deserialize(self.engine, machine_code)
        except wasmtime.WasmtimeError as caught:
            raise InvalidInput("not machine code of this version of wasmtime") from caught


class _Ticker:
    """Counts the engine's epochs while there are evaluations, and sleeps when there have been none for a second."""

    def __init__(
        self,
        engine: wasmtime.Engine,
        *,
        spent: Callable[[], float] = time.process_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._spent = spent
        self._sleep = sleep
        self._wanted = threading.Event()
        self._used = False
        self._thread: threading.Thread | None = None

    def attend(self) -> None:
        """Starts counting time for an evaluation."""
        self._used = True
        if not self._wanted.is_set():
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._count, name="stoa-policy-ticker", daemon=True)
                self._thread.start()

    def _count(self) -> None:
        try:
            self._count_while_used()
        finally:  # however it ends, the next evaluation begins again
            self._thread = None
            self._wanted.clear()

    def _count_while_used(self) -> None:
        idle = 0
        due = self._spent()
        while True:
            self._wanted.wait()
            self._sleep(TICK_SECONDS)
            spent = self._spent()
            if spent >= due:
                self._engine.increment_epoch()
                due = spent + TICK_SECONDS
            idle = 0 if self._used else idle + 1
            self._used = False
            if idle > _IDLE_TICKS:
                self._wanted.clear()
                if self._used:  # an evaluation came in between
                    self._wanted.set()


class WasmPolicy:
    """A loaded policy. `evaluate` is not thread-safe."""

    def __init__(
        self, compiler: Compiler, module: wasmtime.Module, data: JsonObject, *, max_pages: int = MAX_PAGES
    ) -> None:
        """Raises InvalidInput if the module is not a policy, needs functions of its host, or cannot take `data`."""
        self._compiler = compiler
        self._module = module
        self._data = pydantic_core.to_json(data)
        self._max_pages = max_pages
        self._instance = self._instantiate()
        wanted = sorted(self._named("builtins"))
        if wanted:
            raise InvalidInput(
                f"policy.wasm needs functions that the gateway does not provide: {', '.join(wanted)}. Build it with "
                "capabilities that leave them out, and opa shows where they are used"
            )
        self.entrypoints = self._named("entrypoints")

    def evaluate(self, entrypoint: str, document: bytes) -> Any:
        """The rule's value for this input, JSON in UTF-8; None if it is undefined. Raises PolicyEvaluationFailed."""
        if len(document) > MAX_INPUT_BYTES:
            raise PolicyEvaluationFailed(f"the input is larger than {MAX_INPUT_BYTES} bytes")
        self._compiler.ticker.attend()
        try:
            answer = self._instance.evaluate(self.entrypoints[entrypoint], document)
        except (wasmtime.WasmtimeError, wasmtime.Trap, PolicyEvaluationFailed) as caught:
            self._instance = self._instantiate()  # the state of the interrupted evaluation is unusable
            raise PolicyEvaluationFailed(_first_line(caught)) from caught
        results = pydantic_core.from_json(answer)
        return results[0]["result"] if results else None

    def _named(self, function: str) -> dict[str, int]:
        """A table that the policy exports: numbers by name."""
        value = self._instance.read_json(function)
        if not is_object(value) or not all(isinstance(number, int) for number in value.values()):
            raise InvalidInput(f"policy.wasm is not a policy: its {function} are unreadable")
        return value

    def _instantiate(self) -> "_Instance":
        try:
            return _Instance(self._compiler, self._module, self._data, self._max_pages)
        except (wasmtime.WasmtimeError, wasmtime.Trap, PolicyEvaluationFailed, KeyError, ValueError) as caught:
            raise InvalidInput(f"policy.wasm is not a policy of ABI 1.2 or later: {_first_line(caught)}") from caught


class _Instance:
    def __init__(self, compiler: Compiler, module: wasmtime.Module, data: bytes, max_pages: int) -> None:
        store = self._store = wasmtime.Store(compiler.engine)
        store.set_limits(memory_size=max_pages * _PAGE)
        store.set_epoch_deadline(_ENDLESS)
        linker = wasmtime.Linker(compiler.engine)
        linked = [(imported.module, imported.name, imported.type) for imported in module.imports]
        kinds = [kind for _, name, kind in linked if name == "memory" and isinstance(kind, wasmtime.MemoryType)]
        if not kinds:
            raise KeyError("memory")
        self._memory = wasmtime.Memory(store, kinds[0])
        linker.define(store, "env", "memory", self._memory)
        for space, name, kind in linked:
            if isinstance(kind, wasmtime.FuncType):
                linker.define(
                    store, space or "env", name or "", wasmtime.Func(store, kind, self._host_function(name or ""))
                )
        self._exports = linker.instantiate(store, module).exports(store)
        self._eval = self._function("opa_eval")
        address = self._call("opa_malloc", max(1, len(data)))
        self._write(address, data)
        self._base = self._call("opa_json_parse", address, len(data))
        if self._base == 0:
            raise PolicyEvaluationFailed("its data.json is not JSON")
        self._heap = self._call("opa_heap_ptr_get")

    def evaluate(self, entrypoint: int, document: bytes) -> bytes:
        start = self._heap
        self._write(start, document)
        self._store.set_epoch_deadline(DEADLINE_TICKS)
        behind = (start + len(document) + 7) & ~7
        address = self._eval(self._store, 0, entrypoint, self._base, start, len(document), behind, 0)
        return self._read(address)

    def read_json(self, function: str) -> Any:
        return pydantic_core.from_json(self._read(self._call("opa_json_dump", self._call(function))))

    def _call(self, name: str, *arguments: int) -> int:
        return int(self._function(name)(self._store, *arguments))

    def _function(self, name: str) -> wasmtime.Func:
        function = self._exports[name]
        if not isinstance(function, wasmtime.Func):
            raise KeyError(name)
        return function

    def _write(self, address: int, text: bytes) -> None:
        missing = address + len(text) + 8 - self._memory.data_len(self._store)
        if missing > 0:
            self._memory.grow(self._store, -(-missing // _PAGE))
        self._memory.write(self._store, text, address)

    def _read(self, address: int) -> bytes:
        """Reads the NUL-terminated text at `address`."""
        text, step = b"", 1024
        while b"\0" not in text:
            stop = min(address + len(text) + step, self._memory.data_len(self._store))
            piece = bytes(self._memory.read(self._store, address + len(text), stop))
            if not piece:
                raise PolicyEvaluationFailed("its answer does not end")
            text, step = text + piece, step * 8
        return text[: text.index(b"\0")]

    def _host_function(self, name: str) -> Any:
        def refuse(*arguments: int) -> int:
            reason = self._read(arguments[0]).decode("utf-8", "replace") if name == "opa_abort" else name
            raise PolicyEvaluationFailed(reason)

        def ignore(*_: int) -> None:
            """Ignores the output of print()."""

        return ignore if name == "opa_println" else refuse


def _first_line(caught: Exception) -> str:
    """The reason of a failure, without the guest's backtrace."""
    lines = [line.strip() for line in str(caught).splitlines() if line.strip()]
    trap = next((line for line in reversed(lines) if "trap" in line), None)
    return (trap or (lines[0] if lines else type(caught).__name__))[:200]
