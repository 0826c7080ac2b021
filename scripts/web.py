"""Compile the html client from the TypeScript of the other clients."""

from tests.node import TOOLS, node


def main() -> None:
    node(TOOLS / "compile.js")


if __name__ == "__main__":
    main()
