"""Finds cycles of references: the strongly connected components of a graph of names."""

from collections.abc import Callable, Container, Iterable, Iterator


def strong_components(
    start: str, successors: Callable[[str], Iterable[str]], known: Container[str]
) -> Iterator[list[str]]:
    """The strongly connected components that `start` leads to, each after all those that it uses.

    A name in no cycle is a component of its own. Names in `known` are not visited, and `successors` is called once for
    each name. Tarjan's algorithm without recursion: documents nest references thousands deep.
    """
    order: dict[str, int] = {start: 0}
    low: dict[str, int] = {start: 0}
    stack: list[str] = [start]
    positions: dict[str, int] = {start: 0}
    work: list[tuple[str, Iterator[str]]] = [(start, iter(successors(start)))]
    while work:
        name, following = work[-1]
        for successor in following:
            if successor in positions:
                low[name] = min(low[name], order[successor])
            elif successor not in order and successor not in known:
                order[successor] = low[successor] = len(order)
                positions[successor] = len(stack)
                stack.append(successor)
                work.append((successor, iter(successors(successor))))
                break
        else:
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[name])
            if low[name] == order[name]:
                component = stack[positions[name] :]
                del stack[positions[name] :]
                for member in component:
                    del positions[member]
                yield component
