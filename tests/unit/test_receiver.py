"""What a method's key says of the object that it is called on."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from arguments import HERE, Base, Derived, Keyed, Other, Plain, Unkeyed, WithMeta, both

from dogpile.cache.exception import ValidationError
from dogpile.cache.keys import (
    compile_key,
    plan,
)


class TestMethods:
    def test_the_class_of_the_method_goes_without_saying(self) -> None:
        assert both(Base.go, Base(), 1) == f"{HERE}:Base.go|1"

    def test_a_subclass_has_its_own_values(self) -> None:
        assert both(Base.go, Derived(), 1) == f"{HERE}:Base.go|self={HERE}:Derived|1"
        make = Base.make.__func__  # type: ignore[attr-defined]  # of a classmethod
        assert both(make, Base, 1) == f"{HERE}:Base.make|1"
        assert both(make, Derived, 1) == f"{HERE}:Base.make|cls={HERE}:Derived|1"

    def test_two_instances_share_their_values(self) -> None:
        assert both(Derived.go, Derived(), 1) == both(Derived.go, Derived(), 1)

    def test_the_class_may_stand_for_its_instances(self) -> None:
        assert both(Base.go, Derived, 1) == both(Base.go, Derived(), 1)

    def test_two_classes_methods_differ(self) -> None:
        assert both(Base.go, Base(), 1) != both(Other.go, Other(), 1)

    def test_an_instance_may_say_who_it_is(self) -> None:
        assert both(Base.go, Keyed(7), 1) == f"{HERE}:Base.go|self={HERE}:Keyed(7)|1"
        assert both(Base.go, Keyed(7), 1) != both(Base.go, Keyed(8), 1)

    def test_the_class_cannot_stand_for_instances_that_say_so(self) -> None:
        with pytest.raises(ValidationError, match="pass the instance first"):
            plan(Base.go).key((Keyed, 1), {})

    def test_only_the_classes_own_method_says_so(self) -> None:
        assert both(WithMeta.go, WithMeta(), 1) == f"{HERE}:WithMeta.go|1"
        assert both(Base.go, Unkeyed(7), 1) == both(Base.go, Unkeyed(8), 1)

    @pytest.mark.parametrize("receiver", [3, None, "x", Other, int, Plain()])
    def test_what_cannot_be_the_instance_is_refused(self, receiver: object) -> None:
        made = plan(Base.index)

        with pytest.raises(ValidationError, match="pass the instance first"):
            made.key((receiver, 3), {})
        with pytest.raises(ValidationError, match="pass the instance first"):
            compile_key(made)(receiver, 3)

    def test_a_private_method_is_found(self) -> None:
        assert both(Base.hidden, Derived(), 1).endswith(f"self={HERE}:Derived|1")

    def test_a_static_method_and_a_function_have_no_receiver(self) -> None:
        def go(self: Any, x: Any) -> None: ...

        assert not plan(Base.count).is_method
        assert not plan(go).is_method
        assert both(go, 1, 2).endswith("|1,2")

    def test_the_instance_can_be_ignored_with_its_class(self) -> None:
        made = plan(Base.go, ignore=["self"])

        assert made.key((Keyed(1), 1), {}) == compile_key(made)(Derived(), 1)

    def test_a_bound_method_keeps_its_receiver_in_the_prefix(self) -> None:
        assert both(Keyed(7).go, 1) == both(Base.go, Keyed(7), 1)
        assert both(Derived.make, 1) != both(Base.make, 1)
        assert both(Base().go, 1) == both(Base.go, Base(), 1)

    def test_classes_are_not_kept_alive(self) -> None:
        made = plan(Base.go)

        class Passing(Base):
            def __cache_key__(self) -> object:
                return super().__class__.__name__

        made.key((Passing(), 1), {})
        gone = weakref.ref(Passing)
        del Passing
        gc.collect()

        assert gone() is None
        assert made.receive is not None
        assert not made.receive._known
