"""Links to the glossary: every term of the page has one line of explanation, and every link leads to one."""

import re

import pytest

from efface.attacks import ATTACKS, Attack
from efface.auditing.report.glossary import GLOSSARY
from efface.auditing.report.html import render
from efface.auditing.report.links import Terms
from efface.kinds import KINDS
from helpers.report_document import example
from helpers.report_page import Page

pytestmark = pytest.mark.drawn


def keys(html: str) -> list[str]:
    return re.findall(r'href="#term-(\w+)"', html)


def test_a_term_is_linked_once_in_a_section() -> None:
    terms = Terms()
    assert keys(terms.link("LiRA beside lira, and adjusted p")) == ["lira", "adjusted"]
    assert keys(terms.link("LiRA")) == []
    terms.section()
    assert keys(terms.link("LiRA")) == ["lira"]


def test_the_longest_term_is_linked_and_parts_of_words_are_not() -> None:
    assert keys(Terms().link("modified entropy attack")) == ["mentropy"]
    assert keys(Terms().link("U-LiRA, retrainedness, marginal")) == ["ulira"]


@pytest.mark.parametrize("text", ["\u03f5", "reference\u017f", "\u0130nterval", "Re\u017famples"])
def test_letters_that_only_look_alike_are_left_unlinked(text: str) -> None:
    assert str(Terms().link(text)) == text


def test_texts_are_escaped() -> None:
    linked = str(Terms().link("<b> & LiRA </b>"))
    assert linked.startswith("&lt;b&gt; &amp; <a ") and linked.endswith("</a> &lt;/b&gt;")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.key)
def test_every_attack_is_explained(attack: Attack) -> None:
    for kind in KINDS.values():
        assert keys(Terms().link(attack.title_for(kind()))), attack.title_for(kind())


def test_no_word_stands_for_two_terms_and_each_line_is_one_sentence_or_two() -> None:
    words = [word.lower() for term in GLOSSARY.values() for word in (term.name, *term.words)]
    assert len(words) == len(set(words))
    for term in GLOSSARY.values():
        assert term.definition.endswith(".") and len(term.definition) < 260, term.name


def test_the_page_has_all_terms_and_links_to_no_other() -> None:
    html = render(example())
    page = Page(html)
    shown = {attrs["id"] for attrs, _ in page.all("dt") if (attrs.get("id") or "").startswith("term-")}
    assert shown == {f"term-{key}" for key in GLOSSARY}
    linked = set(keys(html))
    assert linked <= set(GLOSSARY) and len(linked) > 20
    assert page.words.count(GLOSSARY["d2"].definition) == 2, "where distances stand, and in the glossary"
