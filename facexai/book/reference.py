"""The reference page, written from the package itself, so that it cannot drift from the code."""

import importlib
import inspect
import re
from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import Directive

SECTIONS = ("Args", "Returns", "Raises", "Convention", "Source", "Deviations", "Example")
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}): *(.*)$")
ITEM = re.compile(r"^(\w[\w, *]*): (.*)$")


class PublicNames(Directive):
    """`facexai-public-names MODULE NAME ...`: signature and docstring of each name, in the order given."""

    required_arguments = 2
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """One entry for each name."""
        module_name, *names = " ".join(self.arguments).split()
        module = importlib.import_module(module_name)
        return [entry(module_name, name, getattr(module, name)) for name in names]


def entry(module_name: str, name: str, item: object) -> nodes.Node:
    """Signature, summary, and the sections of the docstring as a list of terms."""
    docstring = (inspect.getdoc(item) or "") if documents_itself(item) else f"A `{type(item).__name__}`."
    container = nodes.container(classes=["facexai-entry"], ids=[nodes.make_id(f"{module_name}-{name}")])
    container += nodes.literal_block(text=signature(name, item), language="python", classes=["facexai-signature"])
    terms = nodes.definition_list()
    for title, lines in sections(docstring):
        body = section_body(title, lines)
        if title:
            definition = nodes.definition("", *body)
            terms += nodes.definition_list_item("", nodes.term(text=title), definition)
        else:
            container += body
    if len(terms):
        container += terms
    return container


def documents_itself(item: object) -> bool:
    """Whether the docstring belongs to `item` and not to the type of a plain value."""
    return inspect.isclass(item) or inspect.isroutine(item) or type(item).__module__.startswith("facexai")


def signature(name: str, item: object) -> str:
    """`name(arguments) -> result` for what can be called, the name and type for what cannot."""
    if not (inspect.isclass(item) or inspect.isroutine(item)):
        return f"{name}: {type(item).__name__}"
    try:
        written = inspect.signature(item)
    except ValueError:  # exceptions have none
        return name
    if inspect.isclass(item):
        written = written.replace(return_annotation=inspect.Signature.empty)
    # Types by their last name, as the source of the package writes them.
    return name + re.sub(r"\b(?:\w+\.)+(?=[A-Z]\w*|ndarray)", "", str(written))


def sections(docstring: str) -> Iterator[tuple[str, list[str]]]:
    """Split a docstring at its section titles; what comes before the first has the title ''."""
    title, lines = "", []
    for line in docstring.splitlines():
        if found := SECTION.match(line):
            yield title, lines
            title, lines = found[1], [found[2]] if found[2] else []
        else:
            lines.append(line)
    yield title, lines


def section_body(title: str, lines: list[str]) -> list[nodes.Node]:
    """Paragraphs; under Args and Raises, one list item for each name."""
    text = inspect.cleandoc("\n".join(["", *lines]))
    if title not in {"Args", "Raises"}:
        return [paragraph(" ".join(part.split())) for part in text.split("\n\n") if part.strip()]
    items = nodes.bullet_list()
    for part in re.split(r"\n(?=\S)", text):
        found = ITEM.match(" ".join(part.split()))
        body = paragraph(found[2] if found else " ".join(part.split()))
        if found:
            body[0:0] = [nodes.literal(text=found[1]), nodes.Text(": ")]
        items += nodes.list_item("", body)
    return [items]


def paragraph(text: str) -> nodes.paragraph:
    """A paragraph in which `backticks` mark code."""
    # Odd pieces stood between backticks.
    pieces = enumerate(re.split(r"`+([^`]+)`+", text))
    return nodes.paragraph("", "", *(nodes.literal(text=piece) if k % 2 else nodes.Text(piece) for k, piece in pieces))
