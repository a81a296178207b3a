"""Runs the code of a page as a program: ``page_script.py SCRIPT``; a comment after a value says what it has to be."""

from __future__ import annotations

import ast
import io
import os
import sys
import tokenize
from pathlib import Path

import psycopg


class Checks(ast.NodeTransformer):
    """Turns ``value  # 5`` and ``print(value)  # text`` into a check of what the comment says."""

    def __init__(self, source: str) -> None:
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        self._comments = {
            token.start[0]: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT
        }

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        comment = self._comments.get(node.end_lineno or 0)
        if comment is None:
            return node
        value: ast.expr = node.value
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
            value, expected = ast.Call(ast.Name("str", ast.Load()), value.args, []), comment
        else:
            try:
                expected = ast.literal_eval(comment)
            except (SyntaxError, ValueError):
                return node  # words
        arguments = [
            value,
            ast.Constant(expected) if not isinstance(expected, (list, dict)) else ast.parse(comment).body[0].value,
        ]  # type: ignore[attr-defined]
        check = ast.Expr(ast.Call(ast.Name("check", ast.Load()), arguments, []))
        return ast.fix_missing_locations(ast.copy_location(check, node))


def check(found: object, told: object) -> None:
    assert found == told, f"the page says {told!r}, but it is {found!r}"


def sql(text: str) -> None:
    with psycopg.connect(os.environ["LAVORO_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(text.encode())


def run_script(file: str) -> None:
    source = Path(file).read_text()
    tree = Checks(source).visit(ast.parse(source))
    sys.path.insert(0, str(Path.cwd()))
    exec(compile(tree, file, "exec"), {"__name__": "__main__", "check": check, "sql": sql})


if __name__ == "__main__":
    run_script(sys.argv[1])
