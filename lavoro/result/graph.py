"""The graph of a task and of the tasks that it led to, and its text for Graphviz."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any, Protocol, TextIO


class DependencyGraph:
    """Which nodes led to which: ``graph.to_dot(file)`` writes it for Graphviz, ``print(graph)`` for people.

    ``it`` is pairs of a node and of the nodes that it leads to.
    """

    def __init__(self, it: Iterable[tuple[Any, Iterable[Any]]] = (), formatter: Any = None) -> None:
        self.formatter: Any = formatter or GraphFormatter()
        self.adjacent: dict[Any, list[Any]] = {}
        self.update(it or ())

    def add_arc(self, obj: Hashable) -> None:
        """Add a node."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Hashable, B: Hashable) -> None:
        """Let A lead to B; A must be there."""
        self[A].append(B)

    def connect(self, graph: DependencyGraph) -> None:
        """Add the nodes of another graph."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[Any, Iterable[Any]]]) -> None:
        """Add pairs of a node and of the nodes that it leads to."""
        pairs = list(it)
        for node, _ in pairs:
            self.add_arc(node)
        for node, others in pairs:
            for other in others:
                self.add_edge(node, other)

    def topsort(self) -> list[Any]:
        """Return the nodes, each behind all that it leads to; raises ``graphlib.CycleError``."""
        return [*TopologicalSorter(self.adjacent).static_order()]

    def valency_of(self, obj: Hashable) -> int:
        """Return how many nodes lie behind a node, each as often as paths lead there."""
        if obj not in self:
            return 0
        return len(self[obj]) + sum(self.valency_of(other) for other in self[obj])

    def edges(self) -> Iterator[Any]:
        """Yield the nodes that lead to others."""
        return (node for node, others in self.items() if others)

    def items(self) -> Iterable[tuple[Any, list[Any]]]:
        """Return each node with the nodes that it leads to."""
        return self.adjacent.items()

    iteritems = items

    def format(self, obj: Any) -> Any:
        """Return the graph as text by its formatter, if that can be called."""
        return self.formatter(obj) if self.formatter else obj

    def to_dot(self, fh: TextIO, formatter: Drawing | None = None) -> None:
        """Write the graph in the language of Graphviz."""
        draw, seen = formatter or self.formatter, set()
        print(_text(draw.head()), file=fh)
        for node, others in self.items():
            if not others and draw.label(node) not in seen:
                print(_text(draw.terminal_node(node)), file=fh)
                seen.add(draw.label(node))
            for other in others:
                if draw.label(node) not in seen:
                    print(_text(draw.node(node)), file=fh)
                    seen.add(draw.label(node))
                print(_text(draw.edge(node, other)), file=fh)
        print(_text(draw.tail()), file=fh)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, node: Hashable) -> list[Any]:
        return self.adjacent[node]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: Hashable) -> bool:
        return obj in self.adjacent

    def __repr__(self) -> str:
        return "\n".join(line for node in self for line in self._lines(node, 0))

    def _lines(self, node: Any, level: int) -> Iterator[str]:
        yield f"{'     ' * level}{node}({self.valency_of(node)})"
        for other in self.adjacent.get(node, ()):
            yield from self._lines(other, level + 1)


class Drawing(Protocol):
    """The parts of a text for Graphviz."""

    def head(self) -> str | bytes: ...
    def tail(self) -> str | bytes: ...
    def label(self, obj: Any) -> Any: ...
    def node(self, obj: Any) -> str | bytes: ...
    def terminal_node(self, obj: Any) -> str | bytes: ...
    def edge(self, a: Any, b: Any) -> str | bytes: ...


class GraphFormatter:
    """Draws nodes and edges for Graphviz; subclasses change the label or a scheme, keywords those of all."""

    scheme: Mapping[str, Any] = {
        "shape": "box", "arrowhead": "vee", "style": "filled", "fontname": "HelveticaNeue",
    }  # fmt: skip
    edge_scheme: Mapping[str, Any] = {"color": "darkseagreen4", "arrowcolor": "black", "arrowsize": 0.7}
    node_scheme: Mapping[str, Any] = {"fillcolor": "palegreen3", "color": "palegreen4"}
    term_scheme: Mapping[str, Any] = {"fillcolor": "palegreen1", "color": "palegreen2"}
    graph_scheme: Mapping[str, Any] = {"bgcolor": "mintcream"}

    def __init__(self, root: Any = None, type: str = "digraph", id: str = "dependencies", **scheme: Any) -> None:
        self.id, self.type = id, type
        self.scheme = {**self.scheme, **scheme}
        self.graph_scheme = {**self.graph_scheme, "root": self.label(root)}

    def label(self, obj: Any) -> Any:
        """Return the text of a node."""
        return obj

    def head(self) -> str:
        """Return the beginning."""
        return f"{self.type} {self.id} {{\n    graph [{self._attributes(self.graph_scheme)}]"

    def tail(self) -> str:
        """Return the end."""
        return "}"

    def node(self, obj: Any) -> str:
        """Return a node that leads to others."""
        return f'    "{self.label(obj)}" [{self._attributes(self.node_scheme)}]'

    def terminal_node(self, obj: Any) -> str:
        """Return a node that leads to none."""
        return f'    "{self.label(obj)}" [{self._attributes(self.term_scheme)}]'

    def edge(self, a: Any, b: Any) -> str:
        """Return an edge."""
        arrow = {"graph": "--", "digraph": "->"}[self.type]
        return f'    "{self.label(a)}" {arrow} "{self.label(b)}" [{self._attributes(self.edge_scheme)}]'

    def _attributes(self, scheme: Mapping[str, Any]) -> str:
        return ", ".join(f'{name}="{value}"' for name, value in {**self.scheme, **scheme}.items())


def graph_of(pairs: Iterable[tuple[Any, Any]], formatter: Drawing) -> DependencyGraph:
    """Make the graph of pairs of a node's parent, or None, and the node."""
    graph = DependencyGraph(formatter=formatter)
    for parent, node in pairs:
        graph.add_arc(node)
        if parent is not None:
            graph.add_edge(parent, node)
    return graph


def _text(line: str | bytes) -> str:
    return line.decode() if isinstance(line, bytes) else line
