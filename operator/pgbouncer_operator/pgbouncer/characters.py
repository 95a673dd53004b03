"""Characters that no PgBouncer file can hold: the files consist of lines, and have no escape for a line break. Pure."""


def unfit(text: str) -> str | None:
    """The first part of `text` that cannot be written, as words for an error message; None if all of it can."""
    for each in text:
        if ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0:
            return f"the control character U+{ord(each):04X}"
        if 0xD800 <= ord(each) <= 0xDFFF:
            return "half of a surrogate pair, which is not a character"
    return None
