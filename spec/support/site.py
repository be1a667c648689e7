"""site.py BOOK: every link of the site that mdBook has built leads to a file of it, and to a heading in it."""

import pathlib
import re
import sys
import urllib.parse

book = pathlib.Path(sys.argv[1]).resolve()
pages = {path: path.read_text() for path in book.rglob("*.html") if path.name not in ("toc.html", "404.html", "print.html")}
names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
wrong, count = [], 0
for path, text in pages.items():
    for link in re.findall(r'<(?:a|link|script|img)\b[^>]*?\b(?:href|src)="([^"]+)"', text):
        parts = urllib.parse.urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        count += 1
        target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
        fragment = urllib.parse.unquote(parts.fragment)
        if not target.is_file():
            wrong.append(f"{path}: {link}: there is no such file")
        elif fragment and fragment not in names.get(target, ()):
            wrong.append(f"{path}: {link}: there is no such heading")
print(f"{len(pages)} pages, {count} links")
if wrong or not count:
    sys.exit("\n".join(wrong) or "no links at all")
