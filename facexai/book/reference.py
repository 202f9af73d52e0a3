"""The reference page, written from the package itself, so that it cannot drift from the code."""

import importlib
import inspect

from docutils import nodes
from docutils.parsers.rst import Directive


class PublicNames(Directive):
    """`facexai-public-names MODULE NAME ...`: signature and docstring of each name, in the order given."""

    required_arguments = 2
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """One section entry for each name."""
        module_name, *names = " ".join(self.arguments).split()
        module = importlib.import_module(module_name)
        return [entry(module_name, name, getattr(module, name)) for name in names]


def entry(module_name: str, name: str, item: object) -> nodes.Node:
    """Signature and first paragraph of the docstring, then the rest as it stands in the source."""
    summary, _, rest = (inspect.getdoc(item) or "").partition("\n\n") if documents_itself(item) else ("", "", "")
    container = nodes.container(classes=["facexai-entry"], ids=[nodes.make_id(f"{module_name}-{name}")])
    container += nodes.literal_block(text=signature(name, item), language="python", classes=["facexai-signature"])
    container += nodes.paragraph(text=" ".join(summary.split()) or plain_value(item))
    if rest:
        container += nodes.literal_block(text=rest, language="text", classes=["facexai-docstring"])
    return container


def documents_itself(item: object) -> bool:
    """Whether the docstring belongs to `item` and not to the type of a plain value."""
    return inspect.isclass(item) or inspect.isroutine(item) or type(item).__module__.startswith("facexai")


def plain_value(item: object) -> str:
    """What to say of a value that has no docstring."""
    return f"A {type(item).__name__} with {len(item)} entries." if hasattr(item, "__len__") else str(item)  # type: ignore


def signature(name: str, item: object) -> str:
    """`name(arguments) -> result` for what can be called, the name and type for what cannot."""
    if not (inspect.isclass(item) or inspect.isroutine(item)):
        return f"{name}: {type(item).__name__}"
    try:
        written = inspect.signature(item)
    except ValueError:
        return name
    return f"{name}{written}"
