"""``{% cached %}``: parts of Django's templates that are rendered once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.db import transaction
from django.middleware.csrf import get_token
from django.template import Context, Engine, RequestContext, TemplateSyntaxError
from django.test import RequestFactory, override_settings
from django.utils import translation
from django_books.models import Author, Book

from dogpile.cache import ConfigurationError, ValidationError
from dogpile.cache.integrations.django import invalidate_fragment, regions
from dogpile.cache.testing import FakeClock

ENGINE = Engine(
    libraries={
        "dogpile_cache": "dogpile.cache.integrations.django.templatetags.dogpile_cache"
    },
    builtins=["dogpile.cache.integrations.django.templatetags.dogpile_cache"],
    loaders=[
        (
            "django.template.loaders.locmem.Loader",
            {
                "form.html": "<form>{% csrf_token %}</form>",
                "misspelt.html": '{% cached "nav" 9 vary=usr.pk %}{% endcached %}',
            },
        )
    ],
)


@pytest.fixture(autouse=True)
def clock() -> Iterator[FakeClock]:
    made = FakeClock()
    region = {"backend": "memory", "clock": made, "expiration_time": 60}
    settings = {"default": region, "pages": region}
    with override_settings(DOGPILE_CACHE_REGIONS=settings):
        yield made


class Page:
    """A template, and how often its part was rendered."""

    def __init__(self, source: str) -> None:
        self.template = ENGINE.from_string(source)
        self.calls = 0

    def called(self) -> int:
        self.calls += 1
        return self.calls

    def __call__(self, **variables: Any) -> str:
        context = Context({"called": self.called, **variables})
        return str(self.template.render(context))


def test_a_part_is_rendered_once() -> None:
    page = Page('{{ name }} {% cached "nav" 300 %}<b>{{ called }}</b>{% endcached %}')

    assert [page(name="a"), page(name="b")] == ["a <b>1</b>", "b <b>1</b>"]


def test_the_call_of_the_documentation_works() -> None:
    page = Page(
        '{% load dogpile_cache %}{% cached "name" 300 region="pages" vary=user.id '
        'tags="nav" %}{{ called }}{% endcached %}'
    )
    users = [{"id": 1}, {"id": 2}, {"id": 1}]

    assert [page(user=each) for each in users] == ["1", "2", "1"]
    regions["default"].invalidate()
    assert page(user={"id": 1}) == "1"
    regions["pages"].invalidate_tags("nav")
    assert page(user={"id": 1}) == "3"


def test_the_time_is_the_regions_without_one(clock: FakeClock) -> None:
    page = Page('{% cached "nav" %}{{ called }}{% endcached %}')
    page()

    clock.advance(61)

    assert page() == "2"


def test_a_part_expires(clock: FakeClock) -> None:
    page = Page('{% cached "nav" 10 %}{{ called }}{% endcached %}')
    page()

    clock.advance(11)

    assert page() == "2"


def test_a_template_that_was_changed_has_other_parts() -> None:
    before = Page('{% cached "nav" 10 %}{{ called }}{% endcached %}')
    after = Page('{% cached "nav" 10 %}{{ called }}!{% endcached %}')

    assert [before(), after()] == ["1", "1!"]


def test_a_block_around_a_part_has_a_part_in_each_template() -> None:
    base = "{% block nav %}BASE{% endblock %}"
    part = '{% block nav %}{% cached "nav" 9 %}NAME{{ called }}{% endcached %}'
    pages = [
        Page(
            "{% extends base %}" + part.replace("NAME", name) + "{% endblock %}",
        )
        for name in "ab"
    ]
    variables = {"base": ENGINE.from_string(base)}

    assert [page(**variables) for page in pages * 2] == ["a1", "b1", "a1", "b1"]


def test_names_are_expressions() -> None:
    page = Page("{% cached name|lower seconds %}{{ called }}{% endcached %}")

    texts = [page(name=each, seconds=9) for each in ("A", "a", "b")]

    assert texts == ["1", "1", "2"]


def test_a_part_varies_by_several_values_and_by_rows() -> None:
    page = Page('{% cached "row" 9 vary=of %}{{ called }}{% endcached %}')
    one, two = Author(pk=1, name="x"), Author(pk=2, name="x")

    texts = [page(of=each) for each in ([1, "1"], ["1", 1], one, two, one)]

    assert texts == ["1", "2", "3", "4", "3"]


def test_languages_have_their_parts() -> None:
    page = Page('{% cached "nav" 9 %}{{ called }}{% endcached %}')
    with translation.override("de"):
        german = page()

    with translation.override("fr"):
        assert [german, page()] == ["1", "2"]


def test_what_was_escaped_is_not_escaped_again() -> None:
    page = Page('{% cached "nav" 9 %}<i>{{ name }}</i>{% endcached %}')

    assert [page(name="<"), page()] == ["<i>&lt;</i>"] * 2


def test_a_crowd_renders_once() -> None:
    page = Page('{% cached "nav" 9 %}{{ wait }}{{ called }}{% endcached %}')
    barrier = threading.Barrier(6, timeout=30)
    go = threading.Event()
    texts: list[str] = []

    def work() -> None:
        barrier.wait()
        texts.append(page(wait=lambda: "" if go.wait(30) else "late"))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    barrier.wait()
    go.set()
    for thread in threads:
        thread.join(30)

    assert texts == ["1"] * 5


def test_within_grace_a_request_renders_for_itself(clock: FakeClock) -> None:
    places: list[int] = []

    def place() -> str:
        places.append(threading.get_ident())
        return ""

    page = Page('{% cached "nav" 9 grace=100 %}{{ place }}{{ called }}{% endcached %}')
    page(place=place)
    clock.advance(10)

    assert page(place=place) == "2"
    assert set(places) == {threading.get_ident()}


def test_an_error_is_not_kept() -> None:
    page = Page('{% cached "nav" 9 %}{{ called }}{{ fail }}{% endcached %}')

    def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        page(fail=fail)

    assert page(fail="") == "2"


def test_parts_are_invalidated_by_their_name() -> None:
    page = Page('{% cached "nav" 9 vary=of %}{{ called }}{% endcached %}')
    page(of=1), page(of=2)

    invalidate_fragment("nav")

    assert [page(of=1), page(of=2)] == ["3", "4"]


def test_models_are_tags() -> None:
    page = Page('{% cached "nav" 9 tags=of %}{{ called }}{% endcached %}')
    # Called, a class would be made an instance by the template.
    of = {"of": ["django_books.Book"]}
    page(**of)

    with transaction.atomic(using="books"):
        book = Book.objects.create(title="a")
        inside = [page(**of), page(**of)]

    assert inside == ["2", "3"]
    assert [page(**of), page(**of)] == ["4", "4"]
    book.delete()
    assert page(**of) == "5"


class Visitor:
    """A request of somebody with a CSRF token, and what a page shows of it."""

    def __init__(self, secret: str, **variables: Any) -> None:
        self.request = RequestFactory().get("/")
        self.request.META["CSRF_COOKIE"] = secret * 32
        self.variables = {"ask": lambda: get_token(self.request), **variables}

    def sees(self, page: Page) -> str:
        context = RequestContext(self.request, self.variables)
        return str(page.template.render(context))


@pytest.mark.parametrize(
    "part",
    [
        '{% include "form.html" %}',
        "{{ csrf_token }}",
        "{{ ask }}",
        '{% cached "inner" 9 %}{{ csrf_token }}{% endcached %}',
    ],
)
@pytest.mark.parametrize("before", ["", "{{ csrf_token }}"])
def test_a_part_with_a_token_is_kept_for_nobody(part: str, before: str) -> None:
    page = Page(before + '{% cached "nav" 9 %}<i></i>' + part + "{% endcached %}")
    one, two = Visitor("a"), Visitor("b")

    shown = [each.sees(page).partition("<i></i>")[2] for each in (one, two)]

    assert all(shown)
    assert shown[0] != shown[1]
    assert one.request.META["CSRF_COOKIE_NEEDS_UPDATE"]
    assert two.request.META["CSRF_COOKIE_NEEDS_UPDATE"]


def test_a_token_that_a_view_gives_is_kept_for_nobody() -> None:
    page = Page('{% cached "nav" 9 %}{{ csrf_token }}{% endcached %}')

    assert [page(csrf_token="a"), page(csrf_token="b")] == ["a", "b"]


def test_a_token_outside_of_a_part_does_not_hinder_it() -> None:
    page = Page(
        '{{ csrf_token }}<i></i>{% cached "nav" 9 %}{{ of }}{% endcached %}'
        "<i></i>{{ csrf_token }}"
    )
    visitors = [Visitor("a", of=1), Visitor("b", of=2)]

    shown = [each.sees(page).split("<i></i>") for each in visitors]

    assert [each[1] for each in shown] == ["1", "1"]
    assert [each[0] == each[2] for each in shown] == [True, True]


def test_a_crowd_shares_no_token() -> None:
    page = Page('{% cached "nav" 9 %}{{ wait }}{{ csrf_token }}{% endcached %}')
    missed, go = threading.Semaphore(0), threading.Event()
    regions["default"].on("miss", lambda event: missed.release())
    texts: list[str] = []

    def work(token: str) -> None:
        texts.append(page(wait=lambda: go.wait(30) and "", csrf_token=token))

    threads = [
        threading.Thread(target=work, args=(token,), daemon=True) for token in "abcde"
    ]
    for thread in threads:
        thread.start()
    assert all(missed.acquire(timeout=30) for _ in threads)
    go.set()
    for thread in threads:
        thread.join(30)

    assert sorted(texts) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% cached %}{% endcached %}", "takes the name of the fragment"),
        ('{% cached "a" 1 2 %}{% endcached %}', "takes the name of the fragment"),
        ('{% cached "a" 1 regoin="b" %}{% endcached %}', "did you mean 'region'?"),
        ('{% cached "a" 1 colour="b" %}{% endcached %}', "takes no colour="),
        ('{% cached "a" 1 tags="b" vary %}{% endcached %}', "understand 'vary'"),
        ('{% cached "a" 1 vary= %}{% endcached %}', "understand 'vary='"),
        ('{% cached "a" 1 %}{% csrf_token %}{% endcached %}', "shown to all"),
        (
            '{% cached "a" 1 %}<{% block c %}{% endblock %}>{% endcached %}',
            "put {% cached %} inside of the block",
        ),
        ('{% cached "a" 1 %}', "Unclosed tag"),
    ],
)
def test_odd_tags_are_refused(source: str, message: str) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        ENGINE.from_string(source)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ('"a" seconds', ConfigurationError, "no variable seconds, as its seconds"),
        ('"a" -5', ValidationError, r'{% cached "a" %} in a template: .* is -5'),
        ('"a" 1 grace="much"', ValidationError, "grace takes seconds, or a text"),
        ('"a" 1 vary=thing', ValidationError, "vary is given a value of type object"),
        ('"" 1', ConfigurationError, "it has no name"),
        ('1 "a"', ConfigurationError, "takes the name first and seconds second"),
        ("sidebar 1", ConfigurationError, "there is no variable sidebar, as its name"),
        ('"a" 1 grace=-1', ValidationError, "grace is -1"),
        ('"a" 1 region="defalt"', ConfigurationError, "did you mean 'default'"),
        ('"a" 1 tags=1', ValidationError, "tags takes names"),
        ('"a" 1 vary=rows', ValidationError, "was given a query set"),
    ],
)
def test_odd_values_are_refused(
    source: str, error: type[Exception], message: str
) -> None:
    page = Page("{% cached " + source + " %}{% endcached %}")

    with pytest.raises(error, match=message):
        page(rows=Book.objects.all(), thing=object())


STRICT = Engine(
    builtins=["dogpile.cache.integrations.django.templatetags.dogpile_cache"],
    string_if_invalid="what %s?",
)


@pytest.mark.parametrize("engine", [ENGINE, STRICT])
@pytest.mark.parametrize(
    ("options", "variable"),
    [
        ("vary=usr.pk", "usr.pk, as vary="),
        ("vary=user.pkk", "user.pkk, as vary="),
        ("vary=user.asked", "user.asked, as vary="),
        ("vary=usr|lower", r"usr\|lower, as vary="),
        ("vary=user.pk|default:usr", r"user.pk\|default:usr, as vary="),
        ("tags=nosuch", "nosuch, as tags="),
        ("region=nosuch", "nosuch, as region="),
        ("grace=nosuch", "nosuch, as grace="),
    ],
)
def test_what_is_unknown_is_no_value_for_all(
    engine: Engine, options: str, variable: str
) -> None:
    template = engine.from_string(
        '{% cached "a" 9 ' + options + " %}{{ user.pk }}{% endcached %}"
    )
    context = Context({"user": {"pk": 1, "asked": lambda what: what}})

    with pytest.raises(ConfigurationError, match=f"no variable {variable}"):
        template.render(context)


def test_the_error_names_template_and_part() -> None:
    template = ENGINE.get_template("misspelt.html")

    with pytest.raises(ConfigurationError, match=r'"nav" %} in misspelt\.html: there'):
        template.render(Context())


def test_what_is_none_or_has_a_default_is_a_value() -> None:
    page = Page(
        '{% cached "a" 9 vary=pk|default:of %}{{ called }}{% endcached %}'
        '{% cached "b" 9 vary=of tags=tags|default_if_none:"" %}{{ called }}'
        "{% endcached %}"
    )

    assert [page(of=None), page(of=None), page(of=1)] == ["12", "12", "34"]


def test_a_lookup_leaves_the_context_as_it_was() -> None:
    page = Page('{% cached "a" 9 vary=1 %}{{ nothing }}{% endcached %}{{ called }}')

    assert page() == "1"


def test_a_codec_that_knows_only_plain_texts_will_do(tmp_path: Path) -> None:
    region = {
        "backend": "sqlite",
        "serializer": "json",
        "arguments": {"filename": str(tmp_path / "cache.db")},
    }
    page = Page('{% cached "nav" 9 %}<b>{{ called }}</b>{% endcached %}')

    with override_settings(DOGPILE_CACHE_REGIONS={"default": region}):
        assert [page(), page()] == ["<b>1</b>"] * 2


def test_durations_may_be_texts(clock: FakeClock) -> None:
    page = Page('{% cached "a" "5m" grace="1h" %}{{ called }}{% endcached %}')
    page()

    clock.advance(299)
    before = page()
    clock.advance(2)

    assert [before, page()] == ["1", "2"]
