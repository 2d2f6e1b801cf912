"""Mako's templates, rendered by Mako itself, with their sections in regions."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mako", reason="Mako is not installed")

import mako.lookup  # type: ignore[import-untyped]  # Mako has no types
import mako.template  # type: ignore[import-untyped]
from mako import exceptions
from mako.cache import register_plugin  # type: ignore[import-untyped]
from markupsafe import Markup

import dogpile.cache
from dogpile.cache import (
    BackendError,
    CacheBackend,
    CacheRegion,
    CreationCycleError,
    RegionNotConfigured,
    ValidationError,
    make_region,
)
from dogpile.cache.integrations.mako import (
    DogpileCacheImpl,
    Template,
    TemplateLookup,
    init_mako,
)
from dogpile.cache.integrations.mako_syntax import translate
from dogpile.cache.integrations.mako_text import Unstored, read, render
from dogpile.cache.testing import FakeClock
from dogpile.cache.testing.concurrency import together

PATIENCE = 30.0


class Calls:
    """Given to templates as ``made``: counts how often they rendered a section."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: object = "") -> str:
        self.count += 1
        return f"{text}{self.count}"


class Broken(CacheBackend):
    """A backend that fails at whatever it is asked for."""

    def __init__(self, arguments: Any) -> None:
        self.is_broken = True

    def get(self, key: Any) -> Any:
        raise BackendError("broken", "get")

    def put(self, key: Any, value: Any) -> None:
        raise BackendError("broken", "put")

    def delete(self, key: Any) -> None:
        raise BackendError("broken", "delete")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def made() -> Calls:
    return Calls()


@pytest.fixture
def region(clock: FakeClock) -> CacheRegion:
    return make_region("dogpile.cache.memory", expiration_time=60, clock=clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the templates."""
    home = tmp_path / "templates"
    home.mkdir()
    return home


@pytest.fixture(autouse=True)
def _no_named_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """See to it that a test finds only the regions that it names itself."""
    for name in list(dogpile.cache.regions):
        monkeypatch.delitem(dogpile.cache.regions, name)
    registry = sys.modules.get("django.apps")
    if registry is not None:
        # Another test's site, whose regions templates would find.
        monkeypatch.setattr(registry.apps, "apps_ready", False)


def write(folder: Path, templates: Mapping[str, str]) -> None:
    for name, text in templates.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def words(template: Any, **context: Any) -> list[str]:
    """Render a template, and return the words of the page."""
    return str(template.render_unicode(**context)).split()


def entries(region: Any) -> Any:
    """Return what lies in a region of this process."""
    return region.actual_backend.entries


SECTION = '<%def name="menu()" cached="True">${made()}</%def>${menu()}'


class TestSeed:
    """The example of the design document, and what Mako alone says to it."""

    PAGE = (
        '<%def name="mysection()" cached=True cache_region="local">\n'
        "    some content that's cached ${made()}\n"
        "</%def>${mysection()}"
    )

    def test_it_runs_with_dbm(self, folder: Path, tmp_path: Path, made: Calls) -> None:
        write(folder, {"page.mako": self.PAGE})
        local = make_region(
            "dogpile.cache.dbm",
            expiration_time=360,
            arguments={"filename": str(tmp_path / "file.dbm")},
        )

        with local:
            lookup = TemplateLookup(
                directories=[str(folder)],
                cache_impl="dogpile.cache",
                cache_regions={"local": local},
            )
            pages = [
                words(lookup.get_template("page.mako"), made=made) for _ in range(2)
            ]

        assert pages[0] == pages[1] == ["some", "content", "that's", "cached", "1"]

    def test_mako_alone_refuses_its_lookup(self) -> None:
        with pytest.raises(TypeError, match="cache_regions"):
            mako.lookup.TemplateLookup(cache_regions={})

    def test_mako_alone_refuses_its_template(self) -> None:
        with pytest.raises(exceptions.SyntaxException):
            mako.template.Template(self.PAGE)

    def test_the_plugin_is_found_by_its_name(self, region: CacheRegion) -> None:
        template = mako.template.Template(
            SECTION, cache_impl="dogpile.cache", cache_args={"regions": {"a": region}}
        )

        assert type(template.cache.impl) is DogpileCacheImpl

    def test_the_name_of_1_x_leads_to_it(self) -> None:
        from dogpile.cache.plugins.mako_cache import MakoPlugin

        assert MakoPlugin is DogpileCacheImpl


class TestSyntax:
    @pytest.mark.parametrize(
        ("source", "translated"),
        [
            ("<%def name='a()' cached=True>", "<%def name='a()' cached=\"True\">"),
            ("<%page cached=False/>", '<%page cached="False"/>'),
            ("<%block cached = True>", '<%block cached="True">'),
            (
                '<%block\n cached=True\n name="a">',
                '<%block\n cached="True"\n name="a">',
            ),
            ("<%text cached=True>", '<%text cached="True">'),
            (
                "<%def name=\"a(b='>')\" cached=True>",
                '<%def name="a(b=\'>\')" cached="True">',
            ),
            (
                "<%def cache_key=\"${a}_${b['c']}\">",
                "<%def cache_key=\"${str(a)}_${str(b['c'])}\">",
            ),
        ],
    )
    def test_a_tag_is_translated(self, source: str, translated: str) -> None:
        assert translate(source) == translated

    @pytest.mark.parametrize(
        "source",
        [
            'a cached=True b <a cached=True> <%include file="x" cached=True/>',
            '<%def name="a()" cached="True">',
            '<%def name="a()" cache_key="cached=True">',
            '<%def name="a()" cache_key="${key}">',
            '<%def name="${a}_b()">',
            "<%text><%def cached=True></%text>",
            "<%text><%def cached=True>",
            "<%doc><%def cached=True></%doc>",
            "  ## <%def cached=True>\n",
            "<% tag = '<%def cached=True>'\n%>",
            "<%! tag = '<%def cached=True>'\n%>",
            "<%def uncached=True>",
            '<%def name="unclosed cached=True',
            "<%def cached=True",
        ],
    )
    def test_all_else_is_left_alone(self, source: str) -> None:
        assert translate(source) == source

    def test_a_text_that_shows_a_tag_shows_it_as_it_is(
        self, region: CacheRegion
    ) -> None:
        source = "<%text>&lt;%def cached=True> <%def cached=True></%text><%page/>"

        template = Template(source, cache_regions={"a": region})

        assert template.render() == "&lt;%def cached=True> <%def cached=True>"

    def test_a_users_own_preprocessors_still_run(self, region: CacheRegion) -> None:
        given: list[Any] = [
            lambda text: text.replace("[[", "<%block name='a' "),
            lambda text: text.replace("]]", " cached=True>"),
        ]

        templates = [
            Template("[[]]b</%block>", cache_regions={"a": region}, preprocessor=each)
            for each in (given, lambda text: given[1](given[0](text)))
        ]

        assert [template.render() for template in templates] == ["b", "b"]
        assert [len(each.cache.impl._sections) for each in templates] == [1, 1]

    def test_errors_name_the_lines_of_the_source(self, region: CacheRegion) -> None:
        source = "<%def name='a()' cached=True>\n\n${1 / 0}</%def>${a()}"
        template = Template(source, cache_regions={"a": region}, format_exceptions=True)

        assert "ZeroDivisionError" in template.render_unicode()
        with pytest.raises(exceptions.SyntaxException, match="at line: 2"):
            Template("<%def name='a()' cached=True>\n${1 +}</%def>")


class TestKeys:
    """What 1.x took for one and the same section."""

    def lookup(self, folder: Path, region: CacheRegion, **more: Any) -> TemplateLookup:
        return TemplateLookup([str(folder)], cache_regions={"a": region}, **more)

    def test_two_templates_with_a_def_of_the_same_name(
        self, folder: Path, region: CacheRegion
    ) -> None:
        page = '<%def name="menu()" cached=True>{}</%def>${{menu()}}'
        write(folder, {"a.html": page.format("a"), "b.html": page.format("b")})
        lookup = self.lookup(folder, region)

        pages = [lookup.get_template(name).render() for name in ("a.html", "b.html")]

        assert pages == ["a", "b"]

    def test_two_templates_whose_cache_id_is_the_same(
        self, folder: Path, region: CacheRegion
    ) -> None:
        same = (
            "<%page cached=True/><%! from os import path %>${path.basename(local.uri)}"
        )
        write(folder, {"a/b.html": same, "a_b.html": same})
        lookup = self.lookup(folder, region)
        templates = [lookup.get_template(name) for name in ("/a/b.html", "/a_b.html")]

        pages = [template.render() for template in templates]

        assert templates[0].cache.id == templates[1].cache.id
        assert pages == ["b.html", "a_b.html"]

    def test_a_changed_file_is_another_template_in_every_process(
        self, folder: Path, region: CacheRegion
    ) -> None:
        # Each lookup stands for a process.
        write(folder, {"a.html": "<%page cached=True/>old"})
        old = self.lookup(folder, region).get_template("a.html")
        before = old.render()

        write(folder, {"a.html": "<%page cached=True/>new"})
        new = self.lookup(folder, region).get_template("a.html")

        assert before == "old"
        assert new.render() == "new"
        assert old.render() == "old"

    def test_a_restart_keeps_the_cache(
        self, folder: Path, region: CacheRegion, made: Calls
    ) -> None:
        write(folder, {"a.html": SECTION})

        pages = [
            words(self.lookup(folder, region).get_template("a.html"), made=made)
            for _ in range(2)
        ]

        assert pages == [["1"], ["1"]]

    def test_a_module_directory_keeps_it_too(
        self, folder: Path, region: CacheRegion, made: Calls, tmp_path: Path
    ) -> None:
        write(folder, {"a.html": SECTION})

        for name in ("modules", "modules", "others"):
            lookup = self.lookup(folder, region, module_directory=str(tmp_path / name))
            words(lookup.get_template("a.html"), made=made)

        assert made.count == 1

    def test_a_template_that_is_older_than_its_file_has_its_own_key(
        self, folder: Path, region: CacheRegion
    ) -> None:
        # The old one is compiled, and nothing of it was cached, when a copy with
        # an old date takes its place.
        write(folder, {"a.html": "<%page cached=True/>old"})
        lookup = self.lookup(folder, region, filesystem_checks=False)
        old = lookup.get_template("a.html")
        replacement = folder / "replacement"
        replacement.write_text("<%page cached=True/>new")
        os.utime(replacement, (1.0, 1.0))
        _wait_for_a_later_ctime(old, replacement)
        replacement.rename(folder / "a.html")

        assert old.render() == "old"
        assert self.lookup(folder, region).get_template("a.html").render() == "new"

    def test_texts_are_told_apart_by_what_they_say(self, region: CacheRegion) -> None:
        pages = [
            Template(
                f"<%page cached=True/>{text}", cache_regions={"a": region}
            ).render()
            for text in ("one", "two", "one")
        ]

        assert pages == ["one", "two", "one"]
        assert len(entries(region)) == 2

    def test_other_filters_make_another_template(self, region: CacheRegion) -> None:
        source = "<%page cached=True/>${'<'}"

        pages = [
            Template(
                source, cache_regions={"a": region}, default_filters=filters
            ).render()
            for filters in (["str"], ["h"])
        ]

        assert pages == ["<", "&lt;"]

    def test_the_key_says_where_it_comes_from(
        self, folder: Path, region: CacheRegion
    ) -> None:
        write(folder, {"a/b.html": SECTION})
        impl = self.lookup(folder, region).get_template("/a/b.html").cache.impl

        scheme, uri, fingerprint, key = impl.stored_key("render_menu").split(":")

        assert (scheme, uri, key) == ("mako", "/a/b.html", "render_menu")
        assert len(fingerprint) == 32

    def test_a_key_may_be_of_any_type(self, region: CacheRegion, made: Calls) -> None:
        source = (
            '<%block name="a" cached=True cache_key="${k}">${made(repr(k))}</%block>'
        )
        template = Template(source, cache_regions={"a": region})

        keys: list[Any] = [1, "1", True, None, (1, "a"), "(1,'a')", 1.5]
        pages = [template.render(k=key, made=made) for key in [*keys, *keys]]

        assert len(set(pages)) == made.count == len(keys)
        assert pages[: len(keys)] == pages[len(keys) :]

    def test_a_key_without_a_canonical_text_is_refused(
        self, region: CacheRegion
    ) -> None:
        source = '<%block name="a" cached=True cache_key="${k}"></%block>'
        template = Template(source, cache_regions={"a": region}, uri="/a.html")

        with pytest.raises(ValidationError, match=r"'/a.html': cache_key .* object"):
            template.render(k=object())

    def test_numbers_are_joined_with_texts(self, region: CacheRegion) -> None:
        source = '<%block name="a" cached=True cache_key="user_${k}">${k}</%block>'
        template = Template(source, cache_regions={"a": region})

        assert [template.render(k=k) for k in (1, 2, 1)] == ["1", "2", "1"]


def _wait_for_a_later_ctime(template: Any, path: Path) -> None:
    """See to it that a file was changed after a template was compiled."""
    # The time that files get may lag some milliseconds behind the clock.
    while path.stat().st_ctime <= template.last_modified:
        os.utime(path, (1.0, 1.0))


class TestFingerprints:
    def pages(
        self, folder: Path, region: CacheRegion, fingerprint: str | None
    ) -> list[str]:
        """Render a page, change what it includes, and render it in another process."""
        write(
            folder,
            {
                "a.html": '<%inherit file="base.html"/><%block name="b" cached=True>'
                '<%include file="${\'part.html\'}"/><%include file="part.html"/>'
                '<%include file="/missing.html"/></%block>',
                "base.html": "${self.body()}",
                "part.html": '<%namespace name="n" file="deep.html"/>${n.body()}',
                "deep.html": '<%namespace name="n" file="a.html"/>old',
                "missing.html": "",
            },
        )
        pages = []
        for text in ("old", "new"):
            write(folder, {"deep.html": f'<%namespace name="n" file="a.html"/>{text}'})
            lookup = TemplateLookup(
                [str(folder)],
                cache_regions={"a": region},
                cache_fingerprint=fingerprint,
            )
            pages.append(lookup.get_template("a.html").render())
        return pages

    def test_source_looks_at_the_template_alone(
        self, folder: Path, region: CacheRegion
    ) -> None:
        assert self.pages(folder, region, "source") == ["oldold", "oldold"]

    def test_tree_looks_at_all_that_it_names(
        self, folder: Path, region: CacheRegion
    ) -> None:
        assert self.pages(folder, region, "tree") == ["oldold", "newnew"]

    def test_tree_hears_of_a_reloaded_part(
        self, folder: Path, region: CacheRegion
    ) -> None:
        write(
            folder,
            {
                "a.html": '<%page cached=True/><%include file="p.html"/>',
                "p.html": "old",
            },
        )
        lookup = TemplateLookup(
            [str(folder)], cache_regions={"a": region}, cache_fingerprint="tree"
        )
        template = lookup.get_template("a.html")
        before = template.render(), template.render()

        write(folder, {"p.html": "new"})
        later = lookup.get_template("p.html").last_modified + 2
        os.utime(folder / "p.html", (later, later))

        assert before == ("old", "old")
        assert template.render() == "new"

    def test_tree_works_without_a_lookup(self, region: CacheRegion) -> None:
        template = Template(
            "<%page cached=True/>a",
            cache_regions={"a": region},
            cache_fingerprint="tree",
        )

        assert [template.render(), template.render()] == ["a", "a"]

    def test_starttime_is_one_compilation(
        self, folder: Path, region: CacheRegion, made: Calls
    ) -> None:
        write(folder, {"a.html": SECTION})

        for _ in range(2):
            lookup = TemplateLookup(
                [str(folder)],
                cache_regions={"a": region},
                cache_fingerprint="starttime",
            )
            lookup.get_template("a.html").render(made=made)
            lookup.get_template("a.html").render(made=made)

        assert made.count == 2

    def test_none_stays_whatever_the_source(
        self, folder: Path, region: CacheRegion
    ) -> None:
        pages = []
        for text in ("old", "new"):
            write(folder, {"a.html": f"<%page cached=True/>{text}"})
            lookup = TemplateLookup(
                [str(folder)], cache_regions={"a": region}, cache_fingerprint=None
            )
            pages.append(lookup.get_template("a.html").render())

        assert pages == ["old", "old"]

    def test_another_one_is_refused(self, region: CacheRegion) -> None:
        stock = mako.template.Template(
            SECTION,
            cache_impl="dogpile.cache",
            cache_args={"regions": {"a": region}, "fingerprint": "sauce"},
        )

        with pytest.raises(ValidationError, match="takes 'source', 'tree'"):
            TemplateLookup(cache_fingerprint="sauce")
        with pytest.raises(ValidationError, match="not 'sauce'"):
            stock.render(made=str)


class TestRegions:
    def chosen(
        self, source: str, regions: Mapping[str, Any] | None, **more: Any
    ) -> str:
        """Render a template, and return the name of the region that it used."""
        template = Template(source, cache_regions=regions, **more)
        template.render()
        found = template.cache.impl.regions
        [name] = [name for name in found.names() if entries(found.find(name, ""))]
        return str(name)

    def regions(self, *names: str) -> dict[str, CacheRegion]:
        return {name: make_region("dogpile.cache.memory") for name in names}

    def test_the_tag_goes_before_the_page_before_the_lookup(self) -> None:
        page = '<%page cache_region="page"/>'
        block = '<%block name="b" cached=True {}></%block>'
        plain, own = block.format(""), block.format('cache_region="tag"')
        names = ("tag", "page", "lookup", "default")

        chosen = [
            self.chosen(page + own, self.regions(*names), cache_region="lookup"),
            self.chosen(page + plain, self.regions(*names), cache_region="lookup"),
            self.chosen(plain, self.regions(*names), cache_region="lookup"),
            self.chosen(plain, self.regions(*names)),
            self.chosen(plain, self.regions("only")),
        ]

        assert chosen == ["tag", "page", "lookup", "default", "only"]

    def test_an_unknown_one_names_the_template_and_the_known(self) -> None:
        template = Template(
            '<%page cached=True cache_region="memcache"/>',
            uri="/a.html",
            cache_regions=self.regions("memcached", "local"),
        )

        with pytest.raises(ValidationError) as told:
            template.render()

        text = str(told.value)
        assert "'/a.html' names the region 'memcache'" in text
        assert "did you mean 'memcached'?" in text
        assert "known: local, memcached" in text

    def test_none_of_several_is_the_default(self) -> None:
        template = Template(
            "<%page cached=True/>", cache_regions=self.regions("a", "b")
        )

        with pytest.raises(ValidationError, match=r"names no region.*known: a, b"):
            template.render()

    def test_a_lookup_without_regions_says_what_to_do(self) -> None:
        template = Template("<%page cached=True/>")

        with pytest.raises(ValidationError, match="there are none: give the lookup"):
            template.render()

    def test_a_region_without_a_backend_says_what_to_call(self) -> None:
        template = Template(
            "<%page cached=True/>", cache_regions={"a": make_region("a")}
        )

        with pytest.raises(RegionNotConfigured, match="configure_from_config"):
            template.render()

    def test_regions_that_are_no_mapping_are_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"a dictionary .* not a list"):
            TemplateLookup(cache_regions=["a"])  # type: ignore[arg-type]  # on purpose

    def test_what_is_said_twice_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="region is given twice"):
            TemplateLookup(cache_region="a", cache_args={"region": "b"})

    def test_mako_alone_takes_them_as_in_1_x(
        self, region: CacheRegion, made: Calls
    ) -> None:
        lookup = mako.lookup.TemplateLookup(
            cache_impl="dogpile.cache", cache_args={"regions": {"a": region}}
        )
        lookup.put_string("page", SECTION)

        pages = [words(lookup.get_template("page"), made=made) for _ in range(2)]

        assert pages == [["1"], ["1"]]

    def test_without_any_those_of_the_process_are_taken(self, made: Calls) -> None:
        named = make_region("dogpile.cache.memory", name="pages")
        template = mako.template.Template(SECTION, cache_impl="dogpile.cache")

        words(template, made=made)

        assert len(entries(named)) == 1

    def test_a_region_of_the_process_may_be_replaced(self, made: Calls) -> None:
        template = mako.template.Template(SECTION, cache_impl="dogpile.cache")
        regions = []

        for _ in range(2):
            regions.append(make_region("dogpile.cache.memory", name="pages"))
            words(template, made=made)

        assert [len(entries(each)) for each in regions] == [1, 1]

    def test_names_and_settings_stand_for_regions(self, made: Calls) -> None:
        named = make_region("dogpile.cache.memory", name="pages")
        given: dict[str, Any] = {
            "by name": "pages",
            "by settings": {"backend": "memory", "expiration_time": "5m"},
            "by URL": "memory://?expiration_time=7",
        }
        template = Template(SECTION, cache_regions=given)
        found = template.cache.impl.regions

        built = {name: found.find(name, "") for name in given}

        assert built["by name"] is named
        assert built["by settings"].expiration_time == 300
        assert built["by URL"].expiration_time == 7
        # One for all templates, and a new one for new settings.
        assert found.find("by settings", "") is built["by settings"]
        given["by settings"] = {"backend": "memory", "expiration_time": 9}
        assert found.find("by settings", "").expiration_time == 9

    def test_settings_that_are_no_use_are_refused(self) -> None:
        given = {"a": {"backend": "memory", "grase": 1}, "b": "nowhere"}
        template = Template(SECTION, cache_regions=given)

        with pytest.raises(ValidationError, match=r"'a': .* did you mean 'grace'"):
            template.cache.get("key", region="a")
        with pytest.raises(ValidationError, match="the region 'nowhere', which is unk"):
            template.cache.get("key", region="b")

    def test_all_templates_of_a_lookup_share_what_settings_stand_for(
        self, folder: Path
    ) -> None:
        write(folder, {"a.html": SECTION, "b.html": SECTION})
        stock = mako.lookup.TemplateLookup(
            [str(folder)],
            cache_impl="dogpile.cache",
            cache_args={"regions": {"a": {"backend": "memory"}}},
        )

        built = [
            stock.get_template(name).cache.impl.regions.find("a", "")
            for name in ("a.html", "b.html")
        ]

        assert built[0] is built[1]

    def test_init_mako_serves_a_lookup_of_a_framework(
        self, region: CacheRegion, made: Calls
    ) -> None:
        seen: list[str] = []

        def preprocess(text: str) -> str:
            seen.append(text)
            return text

        lookup = mako.lookup.TemplateLookup(preprocessor=preprocess)
        for _ in range(2):  # once more is as good as once
            init_mako(lookup, {"a": region, "b": region}, region="b")
        lookup.put_string("page", SECTION.replace('"True"', "True"))

        pages = [words(lookup.get_template("page"), made=made) for _ in range(2)]

        assert pages == [["1"], ["1"]]
        assert len(seen) == 1
        assert len(lookup.template_args["preprocessor"]) == 2


class TestTags:
    def template(self, region: CacheRegion, arguments: str) -> Any:
        source = f'<%block name="a" cached=True {arguments}>${{made()}}</%block>'
        return Template(source, cache_regions={"a": region}, uri="/a.html")

    def test_timeout(self, region: CacheRegion, clock: FakeClock, made: Calls) -> None:
        template = self.template(region, 'cache_timeout="5"')
        words(template, made=made)

        clock.advance(4)
        before = words(template, made=made)
        clock.advance(2)

        assert (before, words(template, made=made)) == (["1"], ["2"])

    def test_timeout_of_the_lookup(self, region: CacheRegion, made: Calls) -> None:
        for given in (0, "0", "0s"):
            template = Template(
                SECTION, cache_regions={"a": region}, cache_args={"timeout": given}
            )
            words(template, made=made)

        assert [words(template, made=made) for _ in range(2)] == [["4"], ["5"]]

    def test_a_timeout_may_have_a_unit(
        self, region: CacheRegion, clock: FakeClock, made: Calls
    ) -> None:
        template = self.template(region, 'cache_timeout="5m" cache_grace="0s"')

        told = [words(template, made=made)]
        for _ in range(2):
            clock.advance(200)
            told.append(words(template, made=made))

        assert told == [["1"], ["1"], ["2"]]

    def test_a_timeout_of_minus_1_is_for_ever(
        self, region: CacheRegion, clock: FakeClock, made: Calls
    ) -> None:
        template = self.template(region, 'cache_timeout="-1"')

        words(template, made=made)
        clock.advance(1e9)

        assert words(template, made=made) == ["1"]

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ('cache_timeout="-5"', 'cache_timeout="-5".*cache_timeout is -5'),
            ('cache_timeout="soon"', 'cache_timeout="soon".* takes seconds, or a te'),
            ('cache_timeout="0.5"', "cache_timeout takes whole seconds, not '0.5'"),
            ('cache_grace="-1"', "'/a.html': cache_grace is -1"),
            ('cache_grace="soon"', "'/a.html': cache_grace takes seconds, or a text"),
            ('cache_grace="${[1]}"', "'/a.html': cache_grace is not a number"),
            ('cache_tags="${True}"', "'/a.html': cache_tags takes names"),
            ('cache_vary="${len}"', "'/a.html': cache_vary takes names"),
        ],
    )
    def test_what_is_no_use_is_refused_with_its_place(
        self, region: CacheRegion, argument: str, message: str, made: Calls
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            words(self.template(region, argument), made=made)

    def test_a_number_may_be_a_tag(self, region: CacheRegion, made: Calls) -> None:
        template = self.template(region, 'cache_tags="${5}"')
        words(template, made=made)

        region.invalidate_tags("5")

        assert words(template, made=made) == ["2"]

    def test_regions_of_a_tag_are_told(self, region: CacheRegion, made: Calls) -> None:
        template = self.template(region, 'cache_regions="a"')

        with pytest.warns(UserWarning, match="did you mean 'cache_region'"):
            words(template, made=made)

    def test_grace(self, region: CacheRegion, clock: FakeClock, made: Calls) -> None:
        template = self.template(region, 'cache_timeout="5" cache_grace="10"')
        words(template, made=made)
        clock.advance(6)

        def fail() -> str:
            raise OSError("no menu today")

        assert words(template, made=fail) == ["1"]
        clock.advance(10)
        with pytest.raises(OSError, match="no menu today"):
            words(template, made=fail)

    def test_tags(self, region: CacheRegion, made: Calls) -> None:
        template = self.template(region, 'cache_key="${u}" cache_tags="user:${u}, nav"')
        for user in (1, 2):
            words(template, u=user, made=made)

        region.invalidate_tags("user:2")
        first = [words(template, u=user, made=made) for user in (1, 2)]
        region.invalidate_tags("nav")
        second = [words(template, u=user, made=made) for user in (1, 2)]

        assert first == [["1"], ["3"]]
        assert second == [["4"], ["5"]]

    def test_tags_may_be_a_list(self, region: CacheRegion, made: Calls) -> None:
        template = self.template(region, "cache_tags=\"${['a', 'b,c']}\"")
        words(template, made=made)

        region.invalidate_tags("b,c")

        assert words(template, made=made) == ["2"]

    def test_what_is_computed_is_computed_each_time(
        self, region: CacheRegion, made: Calls
    ) -> None:
        # Mako keeps what it was first given: the tags of the first visitor.
        template = self.template(region, 'cache_key="${u}" cache_tags="user:${u}"')
        for user in (1, 2):
            words(template, u=user, made=made)

        region.invalidate_tags("user:1")

        assert words(template, u=2, made=made) == ["2"]

    def test_vary(self, region: CacheRegion, made: Calls) -> None:
        template = self.template(region, 'cache_vary="locale, user.name"')

        class User:
            def __init__(self, name: object) -> None:
                self.name = name

        given = [("de", "a"), ("de", "b"), ("en", "a"), ("en", None), ("en", "None")]
        pages = [
            words(template, locale=locale, user=User(name), made=made)
            for locale, name in [*given, *given]
        ]

        assert pages[:5] == pages[5:] == [["1"], ["2"], ["3"], ["4"], ["5"]]

    @pytest.mark.parametrize(
        ("vary", "message"),
        [
            ("locael", "no 'locael'; did you mean 'locale'"),
            ("user.nam", "cache_vary='user.nam': .* no attribute 'nam'"),
        ],
    )
    def test_vary_by_what_is_not_there_is_refused(
        self, region: CacheRegion, made: Calls, vary: str, message: str
    ) -> None:
        template = self.template(region, f'cache_vary="{vary}"')

        with pytest.raises(ValidationError, match=message) as caught:
            template.render(locale="de", user=object(), made=made)

        assert str(caught.value).startswith("the template '/a.html': the section 'a' ")
        assert made.count == 0

    def test_vary_by_what_has_no_canonical_text_is_refused(
        self, region: CacheRegion, made: Calls
    ) -> None:
        template = self.template(region, 'cache_vary="user"')

        with pytest.raises(ValidationError, match=r"cache_vary is given a .*object"):
            words(template, user=object(), made=made)

    def test_the_context_is_passed_only_where_it_is_needed(
        self, region: CacheRegion
    ) -> None:
        asked = [
            self.template(region, arguments).cache.impl.pass_context
            for arguments in ("", 'cache_tags="a"', 'cache_vary="a"')
        ]

        assert asked == [False, False, True]

    def test_an_unknown_one_is_told_with_the_nearest(
        self, region: CacheRegion, made: Calls
    ) -> None:
        template = self.template(region, 'cache_timeuot="5" cache_dir="/tmp"')

        with pytest.warns(UserWarning, match="nothing understands") as told:
            pages = [words(template, made=made) for _ in range(2)]

        texts = sorted(str(each.message) for each in told)
        assert pages == [["1"], ["1"]]
        assert len(texts) == 2
        assert "'/a.html': nothing understands cache_dir, which is Beaker's" in texts[0]
        assert "cache_timeuot; did you mean 'cache_timeout'?" in texts[1]

    @pytest.mark.parametrize("name", ["timeout", "grace"])
    def test_seconds_that_are_none_are_refused(
        self, region: CacheRegion, name: str, made: Calls
    ) -> None:
        template = Template(
            SECTION, cache_regions={"a": region}, cache_args={name: "soon"}
        )

        with pytest.raises(ValidationError, match=f"cache_{name} takes seconds"):
            words(template, made=made)


class TestMethods:
    SOURCE = (
        '<%page cached=True cache_region="b"/>'
        '<%def name="menu()" cached=True cache_region="b">m${made()}</%def>'
        '<%def name="outer()">'
        '<%def name="inner()" cached=True cache_region="b">i${made()}</%def>'
        "${inner()}</%def>"
        "p${made()} ${menu()} ${outer()}"
    )

    @pytest.fixture
    def regions(self, clock: FakeClock) -> dict[str, CacheRegion]:
        return {
            name: make_region("dogpile.cache.memory", expiration_time=60, clock=clock)
            for name in ("default", "b")
        }

    def test_a_miss_is_none(self, region: CacheRegion, clock: FakeClock) -> None:
        cache = Template(SECTION, cache_regions={"a": region}).cache

        before = cache.get("key")
        cache.set("key", "text")
        cache.put("other", "text")
        found = cache.get("key"), cache.get("other")
        clock.advance(61)

        assert (before, found) == (None, ("text", "text"))
        assert cache.get("key") is None

    def test_what_is_put_has_tags_and_a_time(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        cache = Template(SECTION, cache_regions={"a": region}).cache
        for key in ("a", "b"):
            cache.put(key, "text", timeout=5, tags="t")

        clock.advance(4)
        before = cache.get("a")
        region.invalidate_tags("t")
        after = cache.get("a")
        cache.put("b", "text", timeout=5)
        clock.advance(6)

        assert (before, after, cache.get("b")) == ("text", None, None)

    def test_only_text_is_put(self, region: CacheRegion) -> None:
        cache = Template(SECTION, cache_regions={"a": region}).cache

        with pytest.raises(ValidationError, match="only text is cached, not a int"):
            cache.put("key", 5)

    def test_a_section_is_put_for_the_page(
        self, region: CacheRegion, made: Calls
    ) -> None:
        template = Template(SECTION, cache_regions={"a": region})

        template.cache.put("render_menu", "by hand")

        assert template.render(made=made) == "by hand"

    @pytest.mark.parametrize(
        ("method", "name", "changed"),
        [
            ("invalidate_body", None, "p"),
            ("invalidate_def", "menu", "m"),
            ("invalidate_closure", "inner", "i"),
        ],
    )
    def test_invalidation_before_the_first_rendering(
        self,
        regions: dict[str, CacheRegion],
        folder: Path,
        made: Calls,
        method: str,
        name: str | None,
        changed: str,
    ) -> None:
        # In 1.x it was a KeyError, and the template was broken for good.
        write(folder, {"a.html": self.SOURCE})
        here, there = (
            TemplateLookup([str(folder)], cache_regions=regions) for _ in range(2)
        )
        before = words(here.get_template("a.html"), made=made)

        cache = there.get_template("a.html").cache
        getattr(cache, method)(*[name] * (name is not None))
        if changed != "p":
            cache.invalidate_body()  # the sections are in it
        after = words(there.get_template("a.html"), made=made)

        assert before == ["p1", "m2", "i3"]
        kept = [text for text in before if text in after]
        assert [text[0] for text in kept] == sorted(
            {"p", "m", "i"} - {changed, "p"}, key="pmi".index
        )
        assert entries(regions["default"]) == {}
        assert len(entries(regions["b"])) == 3

    def test_mako_still_keeps_settings_where_the_plugin_looks(self) -> None:
        # Mako's own class of plugins, which leaves the cache as it is.
        register_plugin("bare", "mako.cache", "CacheImpl")
        cache = mako.template.Template("", cache_impl="bare").cache

        cache._get_cache_kw({"__M_defname": "render_a", "region": "b"}, None)

        assert cache._def_regions == {"render_a": {"region": "b"}}

    def test_a_section_with_a_key_of_its_own(
        self, region: CacheRegion, made: Calls
    ) -> None:
        source = '<%def name="a()" cached=True cache_key="own">${made()}</%def>${a()}'
        template = Template(source, cache_regions={"a": region})
        pages = [words(template, made=made)]

        template.cache.invalidate_def("a")
        pages.append(words(template, made=made))
        template.cache.invalidate("own")
        pages.append(words(template, made=made))

        assert pages == [["1"], ["2"], ["3"]]
        assert template.cache.get("own") == template.cache.get("render_a") == "3"

    def test_a_section_with_computed_keys(
        self, region: CacheRegion, made: Calls
    ) -> None:
        source = '<%def name="a()" cached=True cache_key="${k}">${made()}</%def>${a()}'
        template = Template(source, cache_regions={"a": region})

        def pages() -> list[list[str]]:
            return [words(template, k=key, made=made) for key in ("x", "y")]

        before = pages()
        template.cache.invalidate("x")
        one = pages()
        template.cache.invalidate_def("a")

        assert before == [["1"], ["2"]]
        assert one == [["3"], ["2"]]
        assert pages() == [["4"], ["5"]]

    def test_a_section_that_varies(self, region: CacheRegion, made: Calls) -> None:
        source = '<%def name="a()" cached=True cache_vary="v">${made()}</%def>${a()}'
        template = Template(source, cache_regions={"a": region})
        before = [words(template, v=v, made=made) for v in (1, 2)]

        template.cache.invalidate_def("a")

        assert before == [["1"], ["2"]]
        assert [words(template, v=v, made=made) for v in (1, 2)] == [["3"], ["4"]]

    def test_a_section_that_varies_is_read_with_a_context(
        self, region: CacheRegion, made: Calls
    ) -> None:
        source = (
            '<%def name="a()" cached=True cache_vary="v">${made()}</%def>${a()}'
            "<% found.append(local.cache.get('render_a', context=context)) %>"
        )
        template = Template(source, cache_regions={"a": region})
        found: list[str] = []

        template.render(v=1, made=made, found=found)

        assert found == ["1"]
        with pytest.raises(ValidationError, match="hand over yours, as context="):
            template.cache.get("render_a")

    def test_a_computed_region_is_looked_for_in_all(
        self, regions: dict[str, CacheRegion], made: Calls
    ) -> None:
        source = (
            '<%def name="a()" cached=True cache_region="${r}">${made()}</%def>${a()}'
        )
        template = Template(source, cache_regions=regions)
        before = [words(template, r=name, made=made) for name in regions]

        template.cache.invalidate_def("a")

        assert before == [["1"], ["2"]]
        assert [words(template, r=name, made=made) for name in regions] == [
            ["3"],
            ["4"],
        ]

    def test_a_whole_template(
        self, regions: dict[str, CacheRegion], made: Calls
    ) -> None:
        template = Template(self.SOURCE, cache_regions=regions)
        words(template, made=made)

        template.cache.impl.invalidate_template()

        assert words(template, made=made) == ["p4", "m5", "i6"]

    @pytest.mark.parametrize("hard", [True, False])
    def test_tags_of_a_template(
        self, regions: dict[str, CacheRegion], made: Calls, hard: bool
    ) -> None:
        source = (
            '<%block name="a" cached=True cache_region="b" cache_tags="t">'
            "${made()}</%block>"
        )
        template = Template(source, cache_regions=regions)
        words(template, made=made)

        template.cache.impl.invalidate_tags("t", hard=hard)

        assert words(template, made=made) == ["2"]

    def test_a_region_that_is_named_goes_first(
        self, regions: dict[str, CacheRegion]
    ) -> None:
        cache = Template(SECTION, cache_regions=regions).cache
        for name in regions:
            cache.put("key", name, region=name)

        cache.invalidate("key", region="b")

        assert cache.get("key", region="b") is None
        assert cache.get("key", region="default") == cache.get("key") == "default"


class TestRendering:
    """The creator never leaves the calling thread, and never loses a page."""

    PAGE = 'BEFORE <%block name="a" cached=True>SECTION ${made()}</%block> END'

    @pytest.mark.parametrize(
        "settings",
        [
            {"grace": 60},
            {"grace": 60, "soft_timeout": 5},
            {"grace": 60, "hard_timeout": 5},
            {"early": 1e9},
            {},
        ],
    )
    def test_a_refresh_writes_into_the_page_that_asked_for_it(
        self, clock: FakeClock, made: Calls, settings: dict[str, Any]
    ) -> None:
        # With a refresh in the background it came out as BEFORE 1 SECTION 2 END.
        region = make_region(
            "dogpile.cache.memory", expiration_time=60, clock=clock, **settings
        )
        template = Template(self.PAGE, cache_regions={"a": region})
        threads: list[int] = []

        def make() -> str:
            threads.append(threading.get_ident())
            clock.advance(1)
            return made()

        pages = [template.render(made=make)]
        clock.advance(30 if "early" in settings else 61)
        pages.append(template.render(made=make))

        assert pages == ["BEFORE SECTION 1 END", "BEFORE SECTION 2 END"]
        assert set(threads) == {threading.get_ident()}

    def test_within_grace_the_others_get_the_stale_text(
        self, clock: FakeClock, made: Calls
    ) -> None:
        region = make_region(
            "dogpile.cache.memory", expiration_time=60, grace=60, clock=clock
        )
        template = Template(self.PAGE, cache_regions={"a": region})
        template.render(made=made)
        clock.advance(61)
        is_rendering, others_are_done = threading.Event(), threading.Event()

        def make() -> str:
            is_rendering.set()
            assert others_are_done.wait(PATIENCE)
            return made()

        pages: list[str] = []
        first = threading.Thread(
            target=lambda: pages.append(template.render(made=make))
        )
        first.start()
        assert is_rendering.wait(PATIENCE)
        others = [template.render(made=make) for _ in range(3)]
        others_are_done.set()
        first.join(PATIENCE)

        assert others == ["BEFORE SECTION 1 END"] * 3
        assert pages == ["BEFORE SECTION 2 END"]

    def test_a_failing_refresh_serves_the_stale_text(
        self, clock: FakeClock, made: Calls
    ) -> None:
        region = make_region(
            "dogpile.cache.memory",
            expiration_time=60,
            grace=60,
            retry_after=10,
            clock=clock,
        )
        template = Template(
            'A <%block name="a" cached=True>half ${made()} B</%block> C',
            cache_regions={"a": region},
        )
        failures: list[object] = []
        region.on("create_failed", failures.append)
        template.render(made=made)
        clock.advance(61)

        def fail() -> str:
            raise OSError("the database is away")

        pages = [template.render(made=fail) for _ in range(2)]
        clock.advance(11)
        pages.append(template.render(made=made))

        # What was written before the error is not in the page.
        assert pages == ["A half 1 B C", "A half 1 B C", "A half 2 B C"]
        assert len(failures) == 1

    def test_errors_are_not_cached(self, region: CacheRegion, made: Calls) -> None:
        template = Template(self.PAGE, cache_regions={"a": region})

        def fail() -> str:
            raise OSError("the database is away")

        for _ in range(2):
            with pytest.raises(OSError, match="the database is away"):
                template.render(made=fail)

        assert entries(region) == {}
        assert template.render(made=made) == "BEFORE SECTION 1 END"

    def test_an_answer_of_an_error_handler_is_not_cached(
        self, region: CacheRegion, made: Calls
    ) -> None:
        errors: list[object] = []

        def answer(context: Any, error: object) -> bool:
            errors.append(error)
            context.write("sorry")
            return True

        lookup = TemplateLookup(
            cache_regions={"a": region}, include_error_handler=answer
        )
        lookup.put_string("part", "${made()}")
        lookup.put_string(
            "page",
            '<%block name="a" cached=True>'
            '<%block name="b" cached=True><%include file="part"/></%block></%block>',
        )
        page = lookup.get_template("page")

        def fail() -> str:
            raise OSError("the database is away")

        pages = [page.render(made=each) for each in (fail, made, fail)]

        assert pages == ["sorry", "1", "1"]
        assert [type(error) for error in errors] == [OSError]

    def test_an_answer_that_another_request_has_rendered_is_not_cached_either(
        self,
    ) -> None:
        # It came to this one by waiting, within a section around it.
        waited_for = render(lambda: read(Unstored("sorry", None)))

        assert waited_for == Unstored("sorry", None)
        assert render(lambda: read("text")) == "text"

    def test_a_crowd_renders_once(self, region: CacheRegion, made: Calls) -> None:
        template = Template(self.PAGE, cache_regions={"a": region})

        pages = together(lambda _: template.render(made=made), range(10))

        assert set(pages) == {"BEFORE SECTION 1 END"}
        assert made.count == 1

    @pytest.mark.parametrize(
        ("backend", "serializer"),
        [("memory", None), ("memory_pickle", None), ("memory_pickle", "json")],
    )
    def test_markup_comes_back_as_markup(
        self, backend: str, serializer: str | None
    ) -> None:
        region = make_region(f"dogpile.cache.{backend}", serializer=serializer)
        template = Template(
            '<%def name="a()" cached=True buffered="True" filter="h">&</%def>'
            '<%def name="b()" cached=True buffered="True">&</%def>'
            "<% seen.extend([a(), b()]) %>",
            cache_regions={"a": region},
        )
        seen: list[str] = []

        for _ in range(2):
            template.render(seen=seen)

        assert [type(text) for text in seen] == [Markup, str, Markup, str]
        assert seen == ["&amp;", "&", "&amp;", "&"]
        assert type(template.cache.get("render_a")) is Markup

    def test_only_text_is_cached(self, region: CacheRegion) -> None:
        class Shout(str):
            __slots__ = ()

        template = Template(
            '<%def name="a()" cached=True></%def>', cache_regions={"a": region}
        )
        cache = template.cache

        plain = [cache.get_or_create("key", lambda: Shout("text")) for _ in range(2)]
        with pytest.warns(UserWarning, match="it renders a list"):
            odd = [cache.get_or_create("odd", lambda: ["no text"]) for _ in range(2)]

        assert [type(text) for text in plain] == [str, str]
        assert odd == [["no text"], ["no text"]]
        assert len(entries(region)) == 1

    def test_what_mako_has_switched_off_is_not_cached(
        self, region: CacheRegion, made: Calls
    ) -> None:
        template = Template(SECTION, cache_regions={"a": region}, cache_enabled=False)

        assert [words(template, made=made) for _ in range(2)] == [["1"], ["2"]]

    def test_a_section_that_needs_itself_ends_at_once(
        self, region: CacheRegion
    ) -> None:
        template = Template(
            '<%def name="a()" cached=True>${a()}</%def>${a()}',
            cache_regions={"a": region},
        )

        with pytest.raises(CreationCycleError):
            template.render()

    def pages(self, folder: Path, region: CacheRegion) -> list[str]:
        """Render two pages with the same layout, in a process of their own."""
        lookup = TemplateLookup([str(folder)], cache_regions={"a": region})
        return [lookup.get_template(name).render() for name in ("a.html", "b.html")]

    @pytest.mark.parametrize(
        "layout",
        [
            "<%page cached=True/>[${next.body()}]",
            "<%page cached=True/>[${self.body()}]",
            "<%page cached=True/>[<%block name='part'></%block>]",
            "<%block name='frame' cached=True>[<%block name='part'></%block>]</%block>",
            "<%def name='frame()' cached=True>[${self.part()}]</%def>${self.frame()}",
        ],
    )
    def test_a_layout_has_a_section_for_each_page(
        self, folder: Path, region: CacheRegion, layout: str
    ) -> None:
        # Mako's key is the layout's own: each page would show the first one.
        page = '<%inherit file="base.html"/><%block name="part">{}</%block>'
        write(
            folder,
            {
                "base.html": layout,
                "a.html": page.format("a"),
                "b.html": page.format("b"),
            },
        )

        pages = self.pages(folder, region)
        write(folder, {"a.html": page.format("c"), "b.html": page.format("d")})
        kept = self.pages(folder, region)
        base = TemplateLookup([str(folder)], cache_regions={"a": region})
        base.get_template("base.html").cache.impl.invalidate_template()

        assert pages == kept == ["[a]", "[b]"]
        assert self.pages(folder, region) == ["[c]", "[d]"]

    def test_a_page_that_nothing_inherits_from_has_one_section(
        self, region: CacheRegion, made: Calls
    ) -> None:
        template = Template(
            "<%page cached=True/><%block name='part'>${made()}</%block>",
            cache_regions={"a": region},
        )

        pages = [words(template, made=made) for _ in range(2)]
        found = template.cache.get("render_body")
        template.cache.invalidate_body()

        assert (pages, found) == ([["1"], ["1"]], "1")
        assert words(template, made=made) == ["2"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"cache_regions": {"a": 5}}, r"cache_regions\['a'\] takes a region, .* 5"),
            ({"cache_regions": {"a": None}}, "not None"),
            ({"cache_regions": {5: {}}}, "has a text for a name: 5"),
            ({"cache_regoins": {}}, "did you mean 'cache_regions'"),
            ({"cache_timeout": 5}, r"write cache_args=\{'timeout': …\}"),
            ({"cache_args": 5}, "cache_args takes a dictionary"),
        ],
    )
    @pytest.mark.parametrize("kind", [TemplateLookup, Template])
    def test_a_lookup_refuses_what_is_no_use(
        self, kind: Any, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            kind(**settings)

    def test_a_lookup_of_mako_is_told_when_it_renders(self) -> None:
        template = mako.template.Template(
            SECTION, cache_impl="dogpile.cache", cache_args={"regions": {"a": 5}}
        )

        with pytest.raises(ValidationError, match=r"cache_regions\['a'\] takes"):
            template.render(made=str)

    def test_the_name_of_a_backend_is_none_of_a_region(self) -> None:
        template = Template(SECTION, cache_regions={"a": "memory"})

        with pytest.raises(
            ValidationError, match=r"'a'\] names the region 'memory', w"
        ):
            template.render(made=str)

    def test_only_lookups_are_told_about_regions(self) -> None:
        with pytest.raises(ValidationError, match="takes a TemplateLookup of Mako"):
            init_mako(None, {})

    def test_a_section_that_is_not_there_is_told(self, region: CacheRegion) -> None:
        template = Template(SECTION, cache_regions={"a": region})

        with pytest.warns(UserWarning, match="no cached section 'mneu'.* mean 'menu'"):
            template.cache.invalidate_def("mneu")

    @pytest.mark.parametrize("value", ["yes", '"yes"', "'Tru'"])
    def test_cached_is_true_or_false(self, region: CacheRegion, value: str) -> None:
        with pytest.raises(ValidationError, match="cached takes True or False, not"):
            Template(f"<%page cached={value}/>", cache_regions={"a": region})


class TestFailures:
    """A cache that fails does not break a page."""

    def region(self, **settings: Any) -> CacheRegion:
        region = make_region(expiration_time=60, **settings)
        region.configure(Broken)
        return region

    def test_a_section_is_rendered_uncached_with_an_event(self, made: Calls) -> None:
        region = self.region()
        events: list[Any] = []
        region.on("backend_error", events.append)
        template = Template(TestRendering.PAGE, cache_regions={"a": region})

        pages = [template.render(made=made) for _ in range(2)]

        assert pages == ["BEFORE SECTION 1 END", "BEFORE SECTION 2 END"]
        assert {type(event.details["error"]) for event in events} == {BackendError}
        assert template.cache.get("render_a") is None

    def test_who_wants_the_error_gets_it(self, made: Calls) -> None:
        region = self.region(on_backend_error="raise")
        template = Template(TestRendering.PAGE, cache_regions={"a": region})

        with pytest.raises(BackendError):
            template.render(made=made)
        assert template.cache.get("render_a") is None

    def test_an_invalidation_that_failed_is_told(self) -> None:
        template = Template(TestRendering.PAGE, cache_regions={"a": self.region()})

        with pytest.raises(BackendError):
            template.cache.invalidate_def("a")
        with pytest.raises(BackendError):
            template.cache.put("render_a", "text")

    def test_a_file_that_fails_does_not_break_a_page(
        self, tmp_path: Path, made: Calls
    ) -> None:
        # A folder stands where the file should be.
        region = make_region(
            "dogpile.cache.sqlite", arguments={"filename": str(tmp_path)}
        )
        template = Template(TestRendering.PAGE, cache_regions={"a": region})

        with region:
            pages = [template.render(made=made) for _ in range(2)]

        assert pages == ["BEFORE SECTION 1 END", "BEFORE SECTION 2 END"]

    @pytest.mark.parametrize("fingerprint", ["source", "tree"])
    def test_a_template_whose_file_is_gone_is_still_there(
        self, folder: Path, region: CacheRegion, made: Calls, fingerprint: str
    ) -> None:
        write(folder, {"a.html": SECTION})
        lookup = TemplateLookup(
            [str(folder)],
            cache_regions={"a": region},
            cache_fingerprint=fingerprint,
            filesystem_checks=False,
        )
        lookup.get_template("a.html")
        (folder / "a.html").unlink()

        pages = [words(lookup.get_template("a.html"), made=made) for _ in range(2)]

        assert pages == [["1"], ["1"]]

    def test_a_generated_module_that_is_gone_is_no_error(
        self, folder: Path, tmp_path: Path, region: CacheRegion, made: Calls
    ) -> None:
        write(folder, {"a.html": SECTION})
        lookup = TemplateLookup(
            [str(folder)],
            cache_regions={"a": region},
            module_directory=str(tmp_path / "modules"),
        )
        template = lookup.get_template("a.html")
        for path in (tmp_path / "modules").rglob("*.py"):
            path.unlink()

        pages = [words(template, made=made) for _ in range(2)]
        template.cache.impl.invalidate("render_menu")

        assert pages == [["1"], ["1"]]


def test_every_backend_serves_a_template(tmp_path: Path, made: Calls) -> None:
    for number, (backend, arguments) in enumerate(
        [
            ("memory", {}),
            ("memory_pickle", {}),
            ("sqlite", {"filename": str(tmp_path / "sqlite")}),
            ("dbm", {"filename": str(tmp_path / "dbm")}),
        ],
        start=1,
    ):
        with make_region(f"dogpile.cache.{backend}", arguments=arguments) as region:
            template = Template(
                '<%def name="menu()" cached=True cache_tags="nav" cache_grace="5">'
                "${made()}</%def>${menu()}",
                cache_regions={"a": region},
            )

            pages = [words(template, made=made) for _ in range(2)]
            region.invalidate_tags("nav")
            pages += [words(template, made=made) for _ in range(2)]

        first, second = str(2 * number - 1), str(2 * number)
        assert pages == [[first], [first], [second], [second]]
