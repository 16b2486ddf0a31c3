"""An extension of griffe, which reads the docstrings: a field made by `option(5, ...)` is shown with its default, 5."""

import ast
from typing import Any

import griffe


class OptionDefaults(griffe.Extension):
    """Replace the values of fields that are calls of `option` or `field` by the defaults that these name."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **_: Any) -> None:
        """Replace the value of one attribute."""
        value = attr.value
        if not isinstance(value, griffe.ExprCall) or not isinstance(getattr(node, "value", None), ast.Call):
            return
        called = ast.unparse(node.value.func)
        if called == "option":
            attr.value = value.arguments[0]
        elif called == "field":
            factories = [k.value for k in node.value.keywords if k.arg == "default_factory"]
            attr.value = f"{ast.unparse(factories[0])}()" if factories else value
