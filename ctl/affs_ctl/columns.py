"""How much room text takes on a terminal: wide characters take two columns, combining ones none.

Control characters are for `render.clean` to take out before. The tables of characters are loaded
when there is a character to look up: most answers are ASCII, and affsctl is to start at once.
"""

__all__ = ["cut", "pad", "width_of"]

_CUT = "…"
_NO_WIDTH = frozenset({"Mn", "Me", "Cf"})


def width_of(text: str) -> int:
    """In columns."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if character.isascii():
        return 1
    from unicodedata import category, east_asian_width

    if category(character) in _NO_WIDTH:
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """What fits, with a sign at its end that there was more."""
    if width_of(text) <= width:
        return text
    room = width - 1
    kept = []
    for character in text:
        room -= _character_width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + _CUT


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Filled up with spaces; right: on the left side, so that the text ends where the column
    does."""
    spaces = " " * max(0, width - width_of(text))
    return spaces + text if right else text + spaces
