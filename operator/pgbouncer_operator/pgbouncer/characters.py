"""Which characters no PgBouncer file can carry: its files are lines, without an escape for what ends one. Pure."""


def unfit(text: str) -> str | None:
    """What in `text` cannot be written, for use in an error message; None when everything can."""
    for each in text:
        if ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0:
            return f"the control character U+{ord(each):04X}"
        if 0xD800 <= ord(each) <= 0xDFFF:
            return "half of a surrogate pair, which is no character"
    return None
