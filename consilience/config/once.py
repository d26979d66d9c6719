"""YAML that is data: each key once, no aliases that multiply, no nesting without bottom."""

from typing import Any

import yaml

from consilience.errors import RefusedError
from consilience.limits import hold, limit
from consilience.limits.reading import check_nesting

_UNREAD = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What the library's constructors raise of values that do not fit their tags."""


def load_once(text: str) -> Any:  # noqa: ANN401
    """Returns what a YAML text says.

    Raises:
        yaml.YAMLError: it cannot be read, a mapping has a key twice, or its aliases say too much.
    """
    try:
        hold("text_bytes", len(text), "it", "bytes")
        found = _read(text)
        check_nesting(found, "it")
    except RecursionError:
        raise yaml.YAMLError(f"it is nested deeper than {limit('depth')} levels") from None
    except RefusedError as error:
        raise yaml.YAMLError(str(error)) from None
    except _UNREAD as error:  # of a date that is none, a number without end
        raise yaml.YAMLError(str(error).partition(";")[0]) from None
    return found


def _read(text: str) -> Any:  # noqa: ANN401
    loader = _Once(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        hold("entries", _count(node, {}), "it", "entries, each alias written out")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Returns how many nodes there are once each alias is written out; a merge writes it out."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError(f"an alias within itself, levels without end{node.start_mark}")
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    known[id(node)] = count = 1 + sum(_count(part, known) for part in parts)
    return count


class _Once(yaml.SafeLoader):
    """Reads YAML as `safe_load` does, but takes no key of a mapping twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns a mapping; the last value of a key would win without a word."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value!r} is there twice; rename or remove one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
            if isinstance(key, yaml.ScalarNode) and key.value == "on":
                key.tag = "tag:yaml.org,2002:str"  # and not `true`, as YAML 1.1 has it
        return super().construct_mapping(node, deep)
