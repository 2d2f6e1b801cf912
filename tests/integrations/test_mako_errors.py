"""What is no use in a template: the error says in which one, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mako", reason="Mako is not installed")

import mako.lookup  # type: ignore[import-untyped]  # Mako has no types
import mako.template  # type: ignore[import-untyped]

from dogpile.cache import ValidationError, make_region
from dogpile.cache.integrations.mako import Template, TemplateLookup, init_mako

REGIONS: dict[str, Any] = {"local": make_region("dogpile.cache.memory")}
BAD = 'above\n## <%block cached="yes">\n<%block cached="yes">x</%block>'
TOLD = r': the tag <%block cached="yes"> in line 3: cached takes True or False, not "y'


def test_a_file_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "menu.mako").write_text(BAD)
    ours = TemplateLookup([str(tmp_path)], cache_regions=REGIONS)
    stock = mako.lookup.TemplateLookup([str(tmp_path)])
    init_mako(stock, REGIONS)

    for lookup in (ours, stock):
        with pytest.raises(ValidationError, match=TOLD) as caught:
            lookup.get_template("/menu.mako")
        assert str(caught.value).startswith(
            f"the template {str(tmp_path / 'menu.mako')!r}: the tag "
        )
    with pytest.raises(ValidationError, match=r"^the template '.*menu.mako': the tag"):
        Template(filename=str(tmp_path / "menu.mako"))


def test_a_text_is_named_by_its_uri() -> None:
    lookup = TemplateLookup(cache_regions=REGIONS)

    with pytest.raises(ValidationError, match=f"^the template 'menu.html'{TOLD}"):
        lookup.put_string("menu.html", BAD)
    with pytest.raises(ValidationError, match=f"^the template '/menu.html'{TOLD}"):
        Template(BAD, uri="/menu.html")
    with pytest.raises(
        ValidationError, match=r'^the tag <%block cached="yes"> in line'
    ):
        Template(BAD)


def test_a_lexer_of_ones_own_stays() -> None:
    class Own(mako.template.Lexer):  # type: ignore[misc]  # Mako has no types
        """Mako's own."""

    assert Template("x", lexer_cls=Own).lexer_cls is Own


def test_a_key_for_every_section_is_refused() -> None:
    message = "cache_args takes no 'key', .* write cache_key in the section's tag"
    source = '<%block cached="True">x</%block>'

    with pytest.raises(ValidationError, match=f"the lookup: {message}"):
        TemplateLookup(cache_args={"key": "all"})
    with pytest.raises(ValidationError, match=f"the template '/a.html': {message}"):
        mako.template.Template(
            source, uri="/a.html", cache_impl="dogpile.cache", cache_args={"key": "all"}
        ).render()


def test_a_section_without_a_name_is_told_by_its_line() -> None:
    source = 'above\n<%block cached="True" cache_vary="usr">x</%block>'
    template = Template(source, uri="/a.html", cache_regions=REGIONS)

    with pytest.raises(ValidationError, match=r"'/a.html': the section in line 2 "):
        template.render(user="ann")
