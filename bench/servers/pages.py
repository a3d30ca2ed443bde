"""Pages as a site with articles has them: the same bytes for the same length and number, on every machine.

The text follows a real one, the project's licence, word by word: each word is followed by one that follows it there. So it compresses as
prose does, better than random words and worse than the same sentences over and over. The markup around it is that of a blog.
"""

import functools
import random
import re
from pathlib import Path

LICENCE = Path(__file__).resolve().parents[2] / "LICENSE"
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="canonical" href="https://www.example.com/{slug}/">
<link rel="stylesheet" id="theme-style-css" href="https://www.example.com/assets/css/style.min.css?ver={hash}" media="all">
<script src="https://www.example.com/assets/js/navigation.min.js?ver={hash}" defer></script>
<style id="global-styles">:root{{--color-text:#1d2327;--color-link:#135e96;--gap:1.5rem}}body{{margin:0;color:var(--color-text)}}</style>
</head>
<body class="home blog wp-embed-responsive">
<header class="site-header"><nav class="menu" aria-label="Main"><ul>{menu}</ul></nav></header>
<main id="main" class="site-main">
"""
ARTICLE = """<article id="post-{number}" class="post-{number} post type-post status-publish format-standard hentry category-{category}">
<header class="entry-header"><h2 class="entry-title"><a href="https://www.example.com/{year}/{month:02}/{slug}/" rel="bookmark">{title}</a></h2>
<time class="entry-date published" datetime="{year}-{month:02}-{day:02}T{hour:02}:15:00+00:00">{day}/{month}/{year}</time></header>
<img width="1024" height="683" src="https://www.example.com/uploads/{hash}-1024x683.jpg" alt="{alt}" loading="lazy" decoding="async">
<div class="entry-content">
{paragraphs}
</div>
</article>
"""
END = "</main>\n</body>\n</html>\n"


@functools.lru_cache(maxsize=1)
def followers():
    """For every word of the licence the words that follow it there."""
    words = re.findall(r"[A-Za-z(][A-Za-z'()-]*[.,;:]?", LICENCE.read_text())
    found = {}
    for word, follower in zip(words, words[1:] + words[:1]):
        found.setdefault(word, []).append(follower)
    return found


def prose(chance, count):
    chain = followers()
    word = chance.choice(list(chain))
    words = []
    for _ in range(count):
        words.append(word)
        word = chance.choice(chain[word])
    return " ".join(words)


def slug(text):
    return "-".join(re.findall("[a-z]+", text.lower()))


def article(chance):
    title = prose(chance, chance.randint(4, 9)).strip(".,;:").capitalize()
    paragraphs = (f"<p>{prose(chance, chance.randint(30, 90))}</p>" for _ in range(chance.randint(1, 4)))
    return ARTICLE.format(
        number=chance.randint(1000, 99999), category=chance.choice(["news", "science", "travel", "sport", "life"]),
        year=chance.randint(2019, 2026), month=chance.randint(1, 12), day=chance.randint(1, 28), hour=chance.randint(0, 23),
        slug=slug(title), title=title, hash=f"{chance.getrandbits(64):016x}", alt=prose(chance, 6), paragraphs="\n".join(paragraphs),
    )


@functools.lru_cache(maxsize=None)
def page(length, number):
    """`length` bytes of HTML; another `number` is another page of the same kind."""
    chance = random.Random(f"{length} {number}")
    title = prose(chance, 5)
    menu = "".join(
        f'<li class="menu-item"><a href="https://www.example.com/{slug(item)}/">{item}</a></li>'
        for item in (prose(chance, 2) for _ in range(6))
    )
    text = HEAD.format(title=title, slug=slug(title), hash=f"{chance.getrandbits(32):08x}", menu=menu)
    while len(text) < length - len(END):
        text += article(chance)
    return (text[: length - len(END)] + END).encode()
