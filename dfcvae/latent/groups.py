"""CelebA's attributes in the order in which people look for them."""

from collections.abc import Sequence

TELLING = ("Smiling", "Male", "Young", "Eyeglasses", "Blond_Hair", "Bangs", "Heavy_Makeup", "Wearing_Hat")
GROUPS = {  # words that tell an attribute's group, the first that fits
    "Beard": ("Beard", "Goatee", "Mustache", "Sideburns", "Shadow"),
    "Worn": ("Wearing", "Eyeglasses", "Makeup"),
    "Eyes, nose and mouth": ("Eyes", "Eyebrows", "Nose", "Mouth", "Lips", "Smiling"),
    "Hair": ("Hair", "Bald", "Bangs"),
}


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Attributes by group: the eight most telling first, the others by what they are about."""
    first = [name for name in TELLING if name in names]
    first += [name for name in names if name not in first][: len(TELLING) - len(first)]
    groups: dict[str, list[str]] = {"Most telling": first} | {title: [] for title in (*GROUPS, "Face")}
    for name in names:
        if name not in first:
            fits = (title for title, words in GROUPS.items() if any(word in name for word in words))
            groups[next(fits, "Face")].append(name)
    return {title: group for title, group in groups.items() if group}
