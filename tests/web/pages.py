"""Reads pages as a browser's parser would: which elements there are, with which attributes and text."""

from html.parser import HTMLParser

from attrs import define, field

INLINE = frozenset({"a", "bdi", "strong", "span", "code", "time", "label", "input"})
VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


@define
class Element:
    """One element, its attributes, and the text inside of it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(factory=list)
    pieces: list[str] = field(factory=list)

    @property
    def text(self) -> str:
        """All text inside, as one line."""
        return " ".join("".join(self.pieces).split())


class Page(HTMLParser):
    """A parsed page. Every element that is opened must be closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.all: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert self._open == [], [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        if tag not in INLINE:
            self.handle_data(" ")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.all.append(element)
        if self._open:
            self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> inside of <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.pieces.append(data)

    def find(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of that name with those attributes; an underscore at the end of a name is left out."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            element
            for element in self.all
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in wanted.items())
        ]

    @property
    def text(self) -> str:
        """What is read on it, without scripts and styles."""
        return self.find("main")[0].text
