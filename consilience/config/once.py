"""YAML in which no key of a mapping may stand twice."""

from typing import Any

import yaml

from consilience.errors import RefusedError
from consilience.limits import hold, limit
from consilience.limits.reading import check_nesting


def load_once(text: str) -> Any:  # noqa: ANN401
    """Returns what a YAML text says.

    Raises:
        yaml.YAMLError: it cannot be read, or a mapping has a key twice.
    """
    hold("text_bytes", len(text), "a YAML file", "bytes")
    try:
        found = yaml.load(text, _Once)
        check_nesting(found, "it")
    except RecursionError:
        raise yaml.YAMLError(f"it is nested deeper than {limit('depth')} levels") from None
    except RefusedError as error:
        raise yaml.YAMLError(str(error)) from None
    return found


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
