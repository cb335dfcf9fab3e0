"""Circles of references: the strongly connected components of a graph of names."""

from collections.abc import Callable, Container, Iterable, Iterator


def circles(start: str, successors: Callable[[str], Iterable[str]], known: Container[str]) -> Iterator[list[str]]:
    """Each component that `start` leads to, after all those that it uses; a name outside any circle is one of its own.
    Nothing in `known` is visited, and `successors` is asked once for each name. Tarjan's algorithm without recursion.
    """
    order: dict[str, int] = {start: 0}
    low: dict[str, int] = {start: 0}
    open_ones: list[str] = [start]
    positions: dict[str, int] = {start: 0}
    work: list[tuple[str, Iterator[str]]] = [(start, iter(successors(start)))]
    while work:
        name, following = work[-1]
        for successor in following:
            if successor in positions:
                low[name] = min(low[name], order[successor])
            elif successor not in order and successor not in known:
                order[successor] = low[successor] = len(order)
                positions[successor] = len(open_ones)
                open_ones.append(successor)
                work.append((successor, iter(successors(successor))))
                break
        else:
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[name])
            if low[name] == order[name]:
                circle = open_ones[positions[name] :]
                del open_ones[positions[name] :]
                for member in circle:
                    del positions[member]
                yield circle
